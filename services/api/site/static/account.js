// The account on the editors' desk: the password, and the open sessions.

import { call } from "./api.js";
import { act, on, refresh } from "./desk.js";

on("[data-change-password]", async (form, { current, fresh }) => {
  await call("PUT", "/v1/me/password", { current, new: fresh });
  form.reset();
  await refresh();
  return "The password is changed. All other sessions have ended.";
});

act("end-session", async ({ dataset: { session } }) => {
  await call("DELETE", `/v1/me/sessions/${session}`);
  await refresh();
});

act("end-others", async () => {
  await call("DELETE", "/v1/me/sessions");
  await refresh();
});
