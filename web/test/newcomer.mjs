// Somebody who has read nothing, from the start address to a PDF in a bucket.
import { inspect, play } from './screen.mjs'

const { ENDPOINT, START } = process.env

await play(async ({ page }) => {
  await page.goto(START)
  await page.getByRole('heading', { name: 'First steps' }).waitFor()
  if (page.url().includes('#')) throw new Error(`the key of the start address stays in the address bar: ${page.url()}`)
  await inspect(page, 'overview-first-steps')

  // A template, which begins with something that can be seen.
  await page.getByRole('link', { name: 'Make a template' }).click()
  await page.getByText('Begin with a template').waitFor()
  await inspect(page, 'templates-none')
  await page.getByRole('button', { name: 'New template' }).first().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Name').fill('Invoice')
  await inspect(page, 'template-new')
  await dialog.getByRole('button', { name: 'Create template' }).click()
  await page.waitForURL('**/templates/tpl_*')
  await page.getByAltText('The document, as the template').or(page.getByTitle('The document as PDF')).first().waitFor()

  // A bucket.
  await page.getByRole('link', { name: 'Platen' }).click()
  await page.getByRole('link', { name: 'Connect a bucket' }).click()
  await page.getByRole('heading', { name: 'Integrations' }).waitFor()
  await inspect(page, 'integrations-none')
  await page.getByRole('link', { name: 'Create Integration' }).or(page.getByRole('button', { name: 'Create Integration' })).first().click()
  await page.getByLabel('Name').first().fill('Archive')
  await page.getByLabel('AWS Access Key ID').fill('AKTEST')
  await page.getByLabel('AWS Secret Access Key').fill('secret-of-AKTEST')
  await page.getByLabel('AWS Region').selectOption('eu-west-3')
  await page.getByLabel('Bucket', { exact: true }).fill('archive')
  await page.getByText('S3-compatible servers', { exact: false }).first().click()
  await page.getByLabel('Endpoint').fill(ENDPOINT)
  await page.getByLabel('The bucket is part of the path').check()
  await inspect(page, 'create-integration')
  await page.getByRole('button', { name: 'Create Integration' }).first().click()
  await page.waitForURL('**/integrations/int_*')

  // A document, which is in the bucket a moment later.
  await page.getByRole('link', { name: 'Platen' }).click()
  await page.getByRole('link', { name: 'Create a submission' }).first().click()
  await page.getByRole('combobox', { name: 'Template' }).fill('Inv')
  // What the template says is slow to come, and cannot be read at first: nobody sends the form without it.
  let answer
  const held = new Promise((resolve) => (answer = resolve))
  const reading = (request) => !!request.postData()?.includes('query TemplateToFill')
  await page.route('**/graphql', async (route) => {
    if (!reading(route.request())) return route.continue()
    await held
    await route.fulfill({ status: 200, contentType: 'application/json', body: '{"errors":[{"message":"Something went wrong in Platen.","extensions":{"code":"INTERNAL"}}],"data":null}' })
  })
  const asked = page.waitForRequest(reading)
  await page.getByRole('option', { name: 'Invoice' }).first().click()
  await asked
  await page.getByRole('button', { name: 'Reading the template', disabled: true }).waitFor()
  answer()
  await page.getByText('The template could not be read: Something went wrong in Platen.').waitFor()
  await page.getByRole('button', { name: 'Create the submission', disabled: true }).waitFor()
  await inspect(page, 'create-submission-unread')
  await page.unroute('**/graphql')
  await page.getByRole('button', { name: 'Read the template again' }).click()
  await page.getByRole('button', { name: 'Create the submission' }).click()
  await page.waitForURL('**/submissions/sub_*')
  await page.locator('.actions > li [data-state=PROCESSED]').waitFor()
  await page.getByText('s3://archive/').first().waitFor()
  await inspect(page, 'submission-of-a-newcomer')
  await page.getByRole('link', { name: 'Platen' }).click()
  await page.getByRole('heading', { name: 'Latest submissions' }).waitFor()
  await inspect(page, 'overview')
})
