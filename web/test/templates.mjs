// A template: edited beside its preview, with mistakes, published, compared and restored.
import assert from 'node:assert/strict'
import { ask, inspect, play, signIn, staysLoaded } from './screen.mjs'

const { TOKEN } = process.env

await play(async ({ page }) => {
  const { createTemplate } = await ask(
    'mutation ($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } userErrors { message } } }',
    { input: { name: 'Receipt', content: { html: '<h1>Receipt {{ number }}</h1>', sampleData: { number: 'R-1' } } } },
  )
  const id = createTemplate.template.id
  await signIn(page, TOKEN)
  await page.goto('/templates')
  await page.getByRole('link', { name: 'Receipt' }).waitFor()
  await inspect(page, 'templates')
  await page.getByRole('link', { name: 'Receipt' }).click()
  const shown = page.getByAltText('The document, as the template')
  await shown.waitFor()
  const notReloaded = await staysLoaded(page)

  /** Types a part's whole text, as somebody would. */
  const type = async (part, text) => {
    await page.getByRole('tab', { name: part }).click()
    await page.getByRole('textbox', { name: part, exact: true }).click()
    await page.keyboard.press('ControlOrMeta+A')
    await page.keyboard.insertText(text)
  }
  /** Waits until the preview is another one, and answers its address. */
  const another = async (than) => {
    await page.waitForFunction((than) => {
      const now = document.querySelector('section.preview img')?.getAttribute('src')
      return now && now !== than
    }, than)
    return shown.getAttribute('src')
  }
  const first = await shown.getAttribute('src')
  await type('HTML', '<h1>Receipt {{ number }}</h1><p>Thank you, {{ customer }}.</p>')
  const second = await another(first)
  await page.getByText('Unsaved changes').waitFor()
  await inspect(page, 'template')

  // A mistake is shown with its place, and the last good preview stays.
  await type('HTML', '<h1>Receipt</h1>\n<p>{% if customer %}Thank you.</p>')
  await page.getByRole('button', { name: /HTML, line 2, column/ }).waitFor()
  assert.equal(await shown.getAttribute('src'), second)
  await inspect(page, 'template-mistake')
  await type('Sample data', '{"number": "R-1",\n"customer": }')
  await page.getByRole('button', { name: /Sample data, line 2/ }).waitFor()
  await type('Sample data', '{"number": "R-2", "customer": "Acme"}')
  await type('HTML', '<h1>Receipt {{ number }}</h1><p>Thank you, {{ customer }}!</p>')
  await another(second)

  for (const part of ['CSS', 'Header', 'Footer', 'Sample data', 'Schema', 'Page settings']) {
    await page.getByRole('tab', { name: part }).click()
    await inspect(page, `template-${part.toLowerCase().replace(' ', '-')}`)
  }
  await page.getByRole('button', { name: 'Settings', exact: true }).click()
  await page.getByRole('dialog').waitFor()
  await inspect(page, 'template-settings')
  await page.keyboard.press('Escape')

  await page.keyboard.press('ControlOrMeta+S')
  await page.getByText('Saved, not published').waitFor()
  await page.getByRole('button', { name: 'Publish' }).click()
  await page.getByText('Published as version 2').waitFor()
  await page.getByRole('button', { name: 'Versions' }).click()
  await page.getByRole('button', { name: 'Compare version 1' }).waitFor()
  await inspect(page, 'template-versions')
  await page.getByRole('button', { name: 'Compare version 1' }).click()
  await page.getByRole('dialog').getByText('Thank you').first().waitFor()
  await inspect(page, 'template-compare')
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Versions' }).click()
  await page.getByRole('button', { name: 'Restore version 1' }).click()
  await inspect(page, 'template-restore')
  await page.getByRole('dialog').last().getByRole('button').last().click()
  await page.getByText('Version 1 is in the draft now').waitFor()
  await notReloaded()

  const { template } = await ask('query ($id: ID!) { template(id: $id) { draft { html } latestVersion { number content { html sampleData } } } }', { id })
  assert.equal(template.draft.html, '<h1>Receipt {{ number }}</h1>')
  assert.deepEqual(template.latestVersion, { number: 2, content: { html: '<h1>Receipt {{ number }}</h1><p>Thank you, {{ customer }}!</p>', sampleData: { number: 'R-2', customer: 'Acme' } } })

  await page.getByRole('button', { name: 'Create a test document' }).click()
  await page.waitForURL('**/submissions/sub_*')
  await page.locator('main [data-state=PROCESSED]').first().waitFor()
})
