// One window of a browser, for the scenarios beside this file. Whatever goes wrong in it that
// nobody may see (an error on the console, a request to another host, a policy that is broken)
// fails the scenario at its end.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const { BASE, BROWSER, CONTROL, SCREENSHOTS } = process.env
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Breaks something, or mends it: see page_test.go. */
export async function tell(what) {
  const response = await fetch(`${CONTROL}/${what}`, { method: 'POST' })
  assert.equal(response.status, 200, what)
}

/** Plays a scenario in a window of its own. */
export async function play(scenario) {
  const browser = await chromium.connectOverCDP(BROWSER)
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, baseURL: BASE })
  context.setDefaultTimeout(20_000)
  const page = await context.newPage()
  const wrong = []
  let excused = false // while the connection is cut on purpose
  page.on('console', (message) => {
    if (message.type() === 'error' && !excused) wrong.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => wrong.push(`error: ${error.stack}`))
  context.on('request', (request) => {
    const url = request.url()
    if (!url.startsWith(BASE) && !/^(data|blob|about|chrome-extension|chrome):/.test(url)) wrong.push(`another host: ${url}`)
  })
  try {
    await scenario({
      page,
      context,
      /** What is done while the server cannot be reached: the console then has errors. */
      async excuse(f) {
        excused = true
        await f()
        excused = false
      },
    })
    assert.deepEqual(wrong, [])
  } catch (error) {
    if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, 'failed.png') })
    console.error(`at ${page.url()}, with the text\n${(await page.locator("body").innerText().catch(() => "")).slice(0, 2000)}\n${wrong.join("\n")}\n`)
    throw error
  } finally {
    await context.close()
    await browser.close()
  }
}

/** What a screen is held to, in both themes and at both widths: no violation that axe-core finds, nothing that sticks out. */
export async function inspect(page, name) {
  const size = page.viewportSize()
  await page.evaluate(axe) // through the debugger: the page's policy would refuse a script in it
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 900 })
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme })
      // A theme changes colours, and nothing else.
      const only = colorScheme === 'dark' ? { runOnly: ['color-contrast'] } : {}
      const { violations } = await page.evaluate((only) => window.axe.run({ resultTypes: ['violations'], ...only }), only)
      const found = violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.map((n) => `  ${n.html.slice(0, 200)} ${n.any[0]?.message ?? ''}`).join('\n')}`)
      assert.deepEqual(found, [], `${name} at ${width} pixels, ${colorScheme}`)
      if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: !(await page.getByRole('dialog').count()) })
    }
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
    assert.ok(wider <= 0, `${name} at ${width} pixels is ${wider} pixels too wide`)
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize(size)
  console.log(`${name}: inspected`)
}

/** Signs in by hand. */
export async function signIn(page, token) {
  await page.goto('/')
  await page.getByLabel('API token').fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  await page.locator('[data-connection=live]').waitFor()
}

/** Asks the API past the screen, and past whatever is broken between it and the server. */
export async function ask(query, variables = {}) {
  const response = await fetch(`${process.env.DIRECT}/graphql`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${process.env.TOKEN}` },
    body: JSON.stringify({ query, variables }),
  })
  const { data, errors } = await response.json()
  assert.equal(errors, undefined)
  for (const payload of Object.values(data)) assert.deepEqual(payload?.userErrors ?? [], [])
  return data
}

/** Fails once the page was loaded anew since. */
export async function staysLoaded(page) {
  await page.evaluate(() => void (window.loadedOnce = true))
  return async () => assert.ok(await page.evaluate(() => window.loadedOnce), 'the page was loaded anew')
}
