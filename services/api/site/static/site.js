// On every page: live tallies, own votes, the shelf, the filter. Pages can be read without them.

import { ballots } from "./ballots.js";
import { bookmarks } from "./bookmarks.js";
import { filter } from "./filter.js";
import { watch } from "./tallies.js";

filter();
watch();
ballots();
bookmarks();
