// Documents: made, watched, delivered, retried and combined, with the connection cut between.
import assert from 'node:assert/strict'
import { ask, inspect, play, signIn, staysLoaded, tell } from './screen.mjs'

const { ENDPOINT, TOKEN } = process.env
// A page that takes its time, so that somebody can see it being made.
const slow = '<h1>Slow</h1><script>for (const start = Date.now(); Date.now() - start < 2000; );</script>'

const create = (input) => ask('mutation ($input: CreateSubmissionInput!) { createSubmission(input: $input) { submission { id } userErrors { message } } }', { input }).then((d) => d.createSubmission.submission.id)
const row = (page, id) => page.locator(`tr[data-id=${id}]`)

await play(async ({ page, excuse }) => {
  await signIn(page, TOKEN)
  await ask('mutation ($input: CreateAwsS3IntegrationInput!) { createAwsS3Integration(input: $input) { integration { id } userErrors { message } } }', {
    input: {
      name: 'Archive', accessKeyId: 'AKTEST', secretAccessKey: 'secret-of-AKTEST', region: 'eu-west-3', bucket: 'archive', endpoint: ENDPOINT, forcePathStyle: true,
      appliesTo: 'LIVE_AND_TEST', pathTemplates: { combinedSubmission: 'combined/{{ combined_submission_id }}.pdf' },
    },
  })

  // A document is made and delivered before somebody's eyes.
  await page.getByRole('link', { name: 'Submissions', exact: true }).click()
  await page.getByText('no submissions', { exact: false }).first().waitFor()
  await inspect(page, 'submissions-none')
  await tell('hold')
  await page.getByRole('link', { name: 'Create a submission' }).first().click()
  await page.getByLabel('HTML', { exact: true }).check()
  await inspect(page, 'create-submission')
  await page.getByRole('textbox', { name: 'HTML' }).fill(slow)
  await page.getByRole('button', { name: 'Create the submission' }).click()
  await page.waitForURL('**/submissions/sub_*')
  const notReloaded = await staysLoaded(page)
  const state = (of) => page.locator(`main [data-state=${of}]`).first()
  await state('PENDING').waitFor()
  await page.getByText('It is being made').waitFor()
  await state('PROCESSED').waitFor()
  const action = page.locator('.actions > li')
  await action.locator('[data-state=PENDING]').waitFor()
  await tell('release')
  await action.locator('[data-state=PROCESSED]').waitFor()
  await action.getByText('s3://archive/').waitFor()
  await page.getByText('Receipt', { exact: false }).first().waitFor()
  await notReloaded()
  await inspect(page, 'submission')
  const first = new URL(page.url()).pathname.split('/').at(-1)

  // A bucket that refuses: the document is fine, and the action is retried in its place.
  await tell('deny')
  const refused = await create({ html: '<h1>Refused</h1>', metadata: { customer: 'acme' } })
  await page.goto(`/submissions/${refused}`)
  await action.locator('[data-state=FAILED]').waitFor()
  await page.getByText('The document itself is fine').waitFor()
  await action.getByText('AccessDenied').first().waitFor()
  await inspect(page, 'submission-undelivered')
  const inPlace = await staysLoaded(page)
  await action.getByRole('button', { name: 'Retry Archive' }).click()
  await action.locator('[data-state=PROCESSED]').waitFor()
  await inPlace()

  // The list follows, the connection is cut, and what happened meanwhile is there when it is back.
  await page.goto('/submissions')
  await row(page, refused).locator('[data-state=PROCESSED]').waitFor()
  const listNotReloaded = await staysLoaded(page)
  const second = await create({ html: slow })
  await row(page, second).locator('[data-state=PENDING]').waitFor()
  await row(page, second).locator('[data-state=PROCESSED]').waitFor()
  for (const [breaks, mends] of [['cut', 'mend'], ['silence', 'mend']]) {
    let missed
    await excuse(async () => {
      await tell(breaks)
      await page.locator('[data-connection=lost]').waitFor({ timeout: 40_000 })
      await page.getByText('The connection is lost').waitFor()
      assert.ok(await page.evaluate(() => document.documentElement.classList.contains('stale')), 'what is stale looks live')
      missed = await create({ html: `<p>${breaks}</p>` })
      if (breaks === 'cut') await inspect(page, 'submissions-not-live')
      await tell(mends)
      await page.locator('[data-connection=live]').waitFor({ timeout: 40_000 })
    })
    await row(page, missed).locator('[data-state=PROCESSED]').waitFor()
    await page.getByText('The connection is lost').waitFor({ state: 'detached' })
  }
  await listNotReloaded()

  // Filters are part of the address.
  await page.goto('/submissions?metadata=customer%3Dacme')
  await inspect(page, 'submissions')

  // Sources in the order that somebody gives them, by keyboard.
  await page.goto('/create/combined-submission')
  await inspect(page, 'create-combined-submission-none')
  await page.getByRole('button', { name: 'Add documents' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('checkbox').nth(1).waitFor()
  await inspect(page, 'create-combined-submission-documents')
  await dialog.getByRole('checkbox').nth(0).check()
  await dialog.getByRole('checkbox').nth(1).check()
  await dialog.getByRole('button', { name: 'Add 2 documents' }).click()
  const sources = page.locator('[data-move=down]')
  const before = await sources.evaluateAll((all) => all.map((button) => button.ariaLabel))
  await sources.first().focus()
  await page.keyboard.press('Enter')
  const after = await sources.evaluateAll((all) => all.map((button) => button.ariaLabel))
  assert.deepEqual(after, [before[1], before[0]])
  await excuse(async () => {
    await page.setInputFiles('input[type=file]', { name: 'none.pdf', mimeType: 'application/pdf', buffer: Buffer.from('no PDF at all') })
    await page.getByText('Try again').waitFor()
  })
  await inspect(page, 'create-combined-submission')
  await page.getByRole('button', { name: 'Remove none.pdf' }).click()
  await page.getByRole('button', { name: 'Combine 2 sources' }).click()
  await page.waitForURL('**/combined-submissions/com_*')
  await state('PROCESSED').waitFor()
  await action.locator('[data-state=PROCESSED]').waitFor()
  await inspect(page, 'combined-submission')
  await page.goto('/combined-submissions')
  await page.locator('tbody tr').first().waitFor()
  await inspect(page, 'combined-submissions')

  // A batch of a file.
  const { createTemplate } = await ask(
    'mutation ($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } userErrors { message } } }',
    { input: { name: 'Letter', content: { html: '<p>{{ customer.name }}: {{ text }}</p>', schema: { required: ['text'] } } } },
  )
  await page.goto('/create/batch')
  await inspect(page, 'create-batch-none')
  await page.setInputFiles('input[type=file]', {
    name: 'letters.csv', mimeType: 'text/csv',
    buffer: Buffer.from('customer.name;text\r\n"Acme; Sons";"He said ""no""\nand left"\r\nBeta;\r\n'),
  })
  await page.getByText('Acme; Sons').first().waitFor()
  await page.getByRole('combobox', { name: 'Template' }).fill('Letter')
  await page.getByRole('option', { name: 'Letter' }).first().click()
  await inspect(page, 'create-batch')
  await page.getByRole('button', { name: 'Create 2 submissions' }).click()
  await page.waitForURL('**/batches/bat_*')
  await page.locator('main [data-state=PROCESSED]').first().waitFor()
  await inspect(page, 'batch')
  await page.goto('/batches')
  await page.locator('tbody tr').first().waitFor()
  await inspect(page, 'batches')
  const { submissions } = await ask('query ($id: ID!) { submissions(filter: { templateId: $id }) { nodes { data } } }', { id: createTemplate.template.id })
  assert.deepEqual(
    submissions.nodes.map((s) => s.data).sort((a, b) => (a.customer.name < b.customer.name ? -1 : 1)),
    [{ customer: { name: 'Acme; Sons' }, text: 'He said "no"\nand left' }, { customer: { name: 'Beta' }, text: '' }],
  )

  // What is expired says so, and what is not there as well.
  await page.goto(`/submissions/${first}`)
  await page.getByRole('button', { name: 'Expire now' }).click()
  await inspect(page, 'submission-expire')
  await page.getByRole('dialog').getByRole('button', { name: 'Expire now' }).click()
  await page.getByText("Platen's copy was deleted when it expired").waitFor()
  await inspect(page, 'submission-expired')
  await page.goto('/submissions/sub_000000000000000000')
  await page.getByText('in this account').waitFor()
  await inspect(page, 'submission-unknown')
})
