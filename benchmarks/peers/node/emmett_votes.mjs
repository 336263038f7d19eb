// Ballots as streams: `node emmett_votes.mjs VOTES CALLERS` appends one event to each of VOTES new streams.
import { randomInt, randomUUID } from 'node:crypto';
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';
import pg from 'pg';

const TOOLS = ['uv', 'zed', 'neovim', 'sqlite', 'redis', 'grafana', 'sentry', 'postgresql', 'playwright', 'jenkins'];
const WARM_UP = 200;

const [votes, callers] = process.argv.slice(2).map(Number);
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: callers });
const store = getPostgreSQLEventStore(process.env.DATABASE_URL, { connectionOptions: { pool } });

await store.schema.migrate();
await cast(Math.min(votes, WARM_UP));
const started = performance.now();
const latencies = await cast(votes);
const rate = votes / ((performance.now() - started) / 1000);
await store.close();
await pool.end();
console.log(
  JSON.stringify({
    acknowledged: Math.min(votes, WARM_UP) + votes,
    rate,
    p99_ms: latencies.length ? latencies[Math.floor(votes * 0.99)] : null,
  }),
);

// Milliseconds per call, sorted.
async function cast(count) {
  const taken = [];
  let left = count;
  const caller = async () => {
    while (left-- > 0) {
      const before = performance.now();
      await store.appendToStream(`ballot-${randomUUID()}`, [vote()]);
      taken.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return taken.sort((one, other) => one - other);
}

function vote() {
  const choice = randomInt(10) < 6 ? 'ship' : 'skip';
  return { type: 'VoteCast', data: { tool: TOOLS[randomInt(TOOLS.length)], choice } };
}
