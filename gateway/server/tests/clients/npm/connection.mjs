// Where the server under test is, who calls it, and what the other files share.
// gateway/server/tests/published_clients.rs starts the server and sets the variables.

import assert from "node:assert/strict";
import { initClient, WachtClient, WachtError } from "@wacht/backend";

function variable(name) {
  const value = process.env[name];
  assert.ok(
    value,
    `${name} is not set: run this suite through \`cargo test -p portcullis --test published_clients\``,
  );
  return value;
}

const controlUrl = variable("PORTCULLIS_TEST_CONTROL_URL");
export const authzUrl = variable("PORTCULLIS_TEST_AUTHZ_URL");
export const token = variable("PORTCULLIS_TEST_TOKEN");

// The bodies sent, newest last: what the package sends is not always what its caller meant.
export const sentBodies = [];

function recordingFetch(url, init) {
  sentBodies.push(init.body);
  return fetch(url, init);
}

export function clientWith(apiKey) {
  return new WachtClient({ baseUrl: controlUrl, apiKey, fetch: recordingFetch });
}

export const client = clientWith(token);
export const freeClient = clientWith(variable("PORTCULLIS_TEST_FREE_TOKEN"));

// A call on `client.apiKeys` that leaves its options out puts the client in their place and sends through the global one.
initClient({ baseUrl: controlUrl, apiKey: token, fetch: recordingFetch });

let next = 0;

// A slug that no other test of this run uses.
export function fresh(stem) {
  next += 1;
  return `${stem}-${process.pid}-${next}`;
}

export function bareApp(slug) {
  return { app_slug: slug, name: "An app", key_prefix: "sk_live" };
}

export function newApp(stem, fields = {}) {
  return client.apiKeys.createApiAuthApp({ ...bareApp(fresh(stem)), ...fields });
}

export function newScheme(stem, rules) {
  return client.apiKeys.createRateLimitScheme({ slug: fresh(stem), name: "A scheme", rules });
}

// Asserts that `call` is refused with the class and status given, by a message that a person can act on.
export async function assertRefused(call, errorClass, status, ...names) {
  await assert.rejects(call, (error) => {
    assert.equal(error.constructor, errorClass, String(error));
    assert.ok(error instanceof WachtError);
    assert.equal(error.statusCode, status);
    assert.notEqual(error.message, "An error occurred", "the package found no message in the answer");
    assert.ok(error.message.split(/\s+/).length >= 3, `${JSON.stringify(error.message)} is no sentence`);
    for (const name of names) {
      assert.ok(error.message.includes(name), `${JSON.stringify(error.message)} does not name ${name}`);
    }
    return true;
  });
}

export function assertRecent(time) {
  assert.match(time, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$/);
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 120_000, `${time} is not about now`);
}
