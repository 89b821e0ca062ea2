// sessiontape run --expect tests/fixtures/visit.json -- npx playwright test

import { expect, test } from "@playwright/test";

const { SESSIONTAPE_URL, SESSIONTAPE_CONTROL } = process.env;

test.beforeEach(async ({ request }, { title }) => {
  await request.post(`${SESSIONTAPE_CONTROL}/cases`, { data: { name: title } });
});

/** Play the clip to its end, twenty times as fast as a viewer would. */
async function play(page) {
  const options = new URLSearchParams({ tracking: SESSIONTAPE_URL, speed: "20" });
  await page.goto(`/index.html?${options}`);
  await page.getByRole("button", { name: "Play" }).click();
  await expect(page.getByRole("status")).toHaveText("ended", { timeout: 20_000 });
}

/** Return the answer to a question about the case of this test. */
async function ask(request, question) {
  const answer = await request.get(`${SESSIONTAPE_CONTROL}/${question}`);
  expect(answer.ok(), await answer.text()).toBe(true);
  return answer.json();
}

test("both ads are reported, and nothing is wrong", async ({ page, request }) => {
  await play(page);
  const { sessions } = await ask(request, "sessions?wait=ended&timeout=10");
  expect(sessions).toHaveLength(1);
  const { events } = await ask(request, "events?type=adStart");
  expect(events.map(({ body }) => body.params["media.ad.id"])).toEqual(["ferry", "lighthouse"]);
  expect(await ask(request, "verdict")).toMatchObject({ ok: true, counts: { error: 0, warning: 0 } });
});

test("an event that fails is sent again", async ({ page, request }) => {
  await request.post(`${SESSIONTAPE_CONTROL}/faults`, { data: { fault: "events:status=500:nth=3" } });
  await play(page);
  await ask(request, "sessions?wait=ended&timeout=10");
  const { events } = await ask(request, "events");
  expect(events.slice(3, 5).map(({ event_type, status }) => [event_type, status])).toEqual([
    ["play", 500],
    ["play", 204],
  ]);
});
