import { defineConfig } from "@playwright/test";

const port = process.env.PLAYER_PORT ?? "4173";
const pages = `http://127.0.0.1:${port}`;

export default defineConfig({
  testDir: "playwright",
  workers: 1, // all tests share one recorder, and each begins a case of its own there
  use: {
    baseURL: pages,
    launchOptions: { executablePath: process.env.BROWSER_PATH }, // left out: the browser of Playwright
  },
  webServer: {
    command: `python3 -m http.server ${port} --bind 127.0.0.1 --directory player`,
    url: pages,
    stderr: "ignore", // a line for each request
  },
});
