// Integrations, tokens, the account and the playground.
import assert from 'node:assert/strict'
import { ask, inspect, play, signIn } from './screen.mjs'

const { ENDPOINT, TOKEN } = process.env

await play(async ({ page, context }) => {
  const { createSubmission } = await ask(
    'mutation { createSubmission(input: { html: "<p>x</p>", metadata: { customer: "a/b" }, wait: 30 }) { submission { id } userErrors { message } } }',
  )
  const id = createSubmission.submission.id
  await signIn(page, TOKEN)

  // An integration, with the key of a real document before it is saved.
  await page.goto('/integrations')
  await page.getByRole('link', { name: 'Create Integration' }).or(page.getByRole('button', { name: 'Create Integration' })).first().click()
  await page.getByLabel('Name').first().fill('Second archive')
  await page.getByLabel('AWS Access Key ID').fill('AKTEST')
  await page.getByLabel('AWS Secret Access Key').fill('wrong')
  await page.getByLabel('AWS Region').selectOption('eu-west-3')
  await page.getByLabel('Bucket', { exact: true }).fill('archive')
  await page.getByRole('radio', { name: 'Both' }).check()
  const path = page.getByLabel('Path Template for Submissions', { exact: true }).or(page.getByRole('textbox', { name: 'Path Template for Submissions', exact: true })).first()
  await path.fill('second/{{ metadata.customer }}/{{ submission_id }}.{{ extension }}')
  await page.getByText(`second/a_b/${id}.pdf`).first().waitFor()
  await path.fill('second/{{ nonsense }}')
  await page.getByText('nonsense').last().waitFor()
  await inspect(page, 'create-integration-mistake')
  await path.fill('second/{{ submission_id }}.{{ extension }}')
  await page.getByText('S3-compatible servers', { exact: false }).first().click()
  await page.getByLabel('Endpoint').fill(ENDPOINT)
  await page.getByLabel('The bucket is part of the path').check()
  await inspect(page, 'create-integration')
  await page.getByRole('button', { name: 'Create Integration' }).last().click()
  await page.waitForURL('**/integrations/int_*')

  // Its key is wrong: the test says so, and it is replaced without having been shown.
  await page.getByRole('button', { name: 'Test connection' }).click()
  await page.getByText('The secret access key does not belong', { exact: false }).first().waitFor()
  await inspect(page, 'integration-failing')
  await page.getByRole('button', { name: 'Edit' }).click()
  await page.getByText('Set on').waitFor()
  assert.ok(!(await page.content()).includes('secret-of-AKTEST'))
  await page.getByRole('button', { name: 'Replace' }).click()
  await page.getByLabel('AWS Secret Access Key').fill('secret-of-AKTEST')
  await inspect(page, 'integration-edit')
  await page.getByRole('button', { name: 'Save changes' }).click()
  await page.getByRole('button', { name: 'Test connection' }).click()
  await page.getByText('It works: the bucket took the object').waitFor()
  await inspect(page, 'integration')
  await page.goto('/integrations')
  await page.getByRole('link', { name: 'Second archive' }).waitFor()
  await inspect(page, 'integrations')

  await page.goto('/create/integration')
  await page.getByLabel('Service').selectOption('WEBHOOK')
  await page.getByLabel('URL').fill('https://example.com/hook')
  await inspect(page, 'create-webhook')

  // A token, whose secret is shown once, and ends.
  await page.goto('/tokens')
  await page.getByRole('button', { name: 'Create API token' }).click()
  await page.getByLabel('Name').fill('Reader')
  await page.getByLabel('Scope').selectOption('READ')
  await inspect(page, 'token-create')
  await page.getByRole('dialog').getByRole('button', { name: 'Create', exact: true }).click()
  const secret = await page.locator('.secret code').innerText()
  await page.keyboard.press('Escape') // which must not take it away
  await inspect(page, 'token-secret')
  await page.getByRole('button', { name: 'I have kept it' }).click()
  await page.getByRole('button', { name: 'Revoke Reader' }).waitFor()
  assert.ok(!(await page.content()).includes(secret))
  await inspect(page, 'tokens')

  // Whoever may only read is offered nothing else.
  const other = await context.browser().newContext({ viewport: { width: 1280, height: 900 }, baseURL: process.env.BASE })
  const reader = await other.newPage()
  await reader.goto('/')
  await inspect(reader, 'sign-in')
  await reader.getByLabel('API token').fill('platen_live_wrong')
  await reader.getByRole('button', { name: 'Sign in' }).click()
  await reader.getByText('unknown, revoked or expired').waitFor()
  await inspect(reader, 'sign-in-refused')
  await signIn(reader, secret)
  await reader.goto(`/submissions/${id}`)
  assert.ok(await reader.getByRole('button', { name: 'Expire now' }).isDisabled())
  await reader.goto('/tokens')
  await reader.getByText('may not see API tokens').waitFor()
  await inspect(reader, 'tokens-of-a-reader')

  // Who is revoked is out at once, with the page open.
  await page.getByRole('button', { name: 'Revoke Reader' }).click()
  await inspect(page, 'token-revoke')
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
  await reader.getByLabel('API token').waitFor()
  await other.close()

  await page.goto('/account')
  await page.getByRole('radio', { name: 'Dark' }).check()
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark')
  await page.getByRole('radio', { name: 'System' }).check()
  await inspect(page, 'account')

  // The playground, with a subscription.
  await page.goto('/playground')
  await page.getByRole('button', { name: /Execute/ }).waitFor()
  // GraphiQL now and then shows the text of the tab before, where a click comes while it prepares its editor.
  const shows = (text) => page.locator('.view-lines').getByText(text).first().waitFor({ timeout: 3000 }).then(() => true, () => false)
  const tab = (name) => page.getByRole('tab', { name, exact: true }).click()
  for (await tab('Documents'); !(await shows('documentFeed')); await tab('Documents')) {
    await tab('CreateDocument')
    await shows('createSubmission')
  }
  await page.getByRole('button', { name: /Execute/ }).click()
  const answers = page.getByRole('region', { name: 'Operation results' }).or(page.locator('.result-window')).first()
  await page.getByText('FeedReady').or(answers.getByText('cursor')).first().waitFor()
  const made = await ask('mutation { createSubmission(input: { html: "<p>x</p>" }) { submission { id } userErrors { message } } }')
  await answers.getByText(made.createSubmission.submission.id).first().waitFor()

  // Signed out is signed out.
  await page.goto('/')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByLabel('API token').waitFor()
  await page.goto('/submissions')
  await page.getByLabel('API token').waitFor()
})
