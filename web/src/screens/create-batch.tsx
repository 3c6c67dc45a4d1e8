import { useEffect, useMemo, useRef, useState, type DragEvent } from 'react'
import { useRead } from '../api/read'
import { Link, useLocation, useSearchParams } from 'wouter'
import { client, problemsOf, refusals, type Problem } from '../api/client'
import { delimiterOf, delimiters, partsOf, tableOfCsv, tableOfJson, textOf, type Delimiter, type Row, type Table } from '../api/csv'
import { newKey } from '../api/files'
import { CreateBatchDocument, TemplateOfBatchDocument, type BatchPartsFragment, type CreateSubmissionBatchInput } from '../api/generated'
import { Announce } from '../parts/announce'
import { BatchProgress, useLiveBatch } from '../parts/batch-progress'
import { readOnly } from '../parts/create-link'
import { Expiry, JsonInput, LiveOrTest, moreInput, noMore, objectError, parsed, toFirstMistake } from '../parts/making'
import { about, bytes, Check, count, Field, others, Problems, Screen, Section, Select, State } from '../parts/parts'
import { TemplatePicker } from '../parts/template-picker'
import { useViewer } from '../parts/viewer'

// What one call takes: so many submissions, and a request of so many bytes with room to spare.
const most = 1000
const largest = 12e6
const shownRows = 5
const shownMistakes = 50

interface Source {
  name: string
  size: number
  text: string
  encoding: string
  json: boolean
}

/** The form that makes a document of each row of a file. */
export function CreateBatch() {
  const { mayWrite, testOnly } = useViewer()
  const [, go] = useLocation()
  const [params] = useSearchParams()
  const [templateId, setTemplateId] = useState(params.get('template') ?? '')
  const [file, setFile] = useState<Source>()
  const [delimiter, setDelimiter] = useState<Delimiter>(',')
  const [numbers, setNumbers] = useState(false)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [test, setTest] = useState(testOnly)
  const [expiry, setExpiry] = useState({ expiry: '', days: '' })
  const [metadata, setMetadata] = useState('')
  const [problems, setProblems] = useState<Problem[]>([])
  const form = useRef<HTMLFormElement>(null)
  const [order, setOrder] = useState<Order>()

  const table = useMemo(
    (): Table | undefined => file && (file.json ? tableOfJson(file.text) : tableOfCsv(file.text, { delimiter, numbers, metadata: chosen })),
    [file, delimiter, numbers, chosen],
  )
  const [{ data }] = useRead({ query: TemplateOfBatchDocument, variables: { id: templateId }, pause: !templateId })
  const template = data?.template?.id === templateId ? data.template : undefined
  const variables = template?.latestVersion?.content.variables
  const ready = table && !table.mistakes.length && table.rows.length > 0

  function begin() {
    const found: Problem[] = []
    if (!templateId) found.push({ message: 'Choose a template.', code: '', path: ['input', 'templateId'] })
    const wrong = objectError(metadata)
    if (wrong) found.push({ message: wrong, code: '', path: ['input', 'metadata'] })
    setProblems(found)
    if (found.length) toFirstMistake(form.current)
    if (found.length || !ready) return
    const { expiresIn } = moreInput({ ...noMore, ...expiry })
    setOrder({ parts: partsOf(table.rows, most, largest), key: newKey(), file: file!, input: { templateId, test, expiresIn, metadata: parsed(metadata).value } })
  }

  if (order)
    return (
      <Screen title="Create a batch" back={{ to: '/batches', name: 'Batches' }}>
        <Sending
          order={order}
          onOne={(batch) => go('/batches/' + batch.id, { replace: true })}
          onRefused={(problems) => {
            setProblems(problems)
            setOrder(undefined)
          }}
        />
      </Screen>
    )
  const at = (name: string) => about(problems, 'input', name)
  return (
    <Screen title="Create a batch" back={{ to: '/batches', name: 'Batches' }}>
      <form
        ref={form}
        className="making"
        onSubmit={(e) => {
          e.preventDefault()
          begin()
        }}
      >
        <div className="stack">
          <Section title="The file">
            <div className="stack">
              <FileDrop
                file={file}
                onFile={(found) => {
                  setFile(found)
                  setProblems([])
                  setChosen(new Set())
                  setDelimiter(delimiterOf(found.text))
                }}
              />
              {file && table && (
                <>
                  {file.encoding === 'windows-1252' && <p className="hint">The file is not UTF-8: it was read as Windows-1252. Look whether umlauts and accents are right below.</p>}
                  {!file.json && (
                    <div className="pair">
                      <Select label="Fields are separated by a" value={delimiter} onChange={setDelimiter} options={Object.entries(delimiters) as [Delimiter, string][]} />
                      <Check label="Numbers as numbers" checked={numbers} onChange={setNumbers} hint="Else all fields are text. 007 and 1,5 stay text either way." />
                    </div>
                  )}
                  <Mistakes of={table} json={file.json} />
                  {ready && <Preview of={table} json={file.json} />}
                  {!file.json && table.columns.length > 0 && !table.mistakes.length && (
                    <fieldset>
                      <legend>Columns that become metadata as well</legend>
                      <div className="row columns-chosen">
                        {table.columns.map((name) => (
                          <label key={name}>
                            <input
                              type="checkbox"
                              checked={chosen.has(name)}
                              onChange={(e) => {
                                const next = new Set(chosen)
                                e.currentTarget.checked ? next.add(name) : next.delete(name)
                                setChosen(next)
                              }}
                            />{' '}
                            {name}
                          </label>
                        ))}
                      </div>
                      <p className="hint">To find submissions by, and for keys of buckets.</p>
                    </fieldset>
                  )}
                </>
              )}
            </div>
          </Section>
        </div>
        <Section title="What is made of it">
          <div className="stack">
            <TemplatePicker
              label="Template"
              value={templateId}
              onChange={(t) => setTemplateId(t?.id ?? '')}
              errors={template && !template.latestVersion ? ['This template was never published: publish it first.'] : at('templateId')}
              hint={
                variables?.length ? (
                  <>
                    It reads{' '}
                    {variables.slice(0, 12).map((name, i) => (
                      <span key={name}>
                        {i > 0 && ', '}
                        <code>{name}</code>
                      </span>
                    ))}
                    {variables.length > 12 && ' and more'}.
                  </>
                ) : undefined
              }
            />
            <LiveOrTest value={test} onChange={setTest} />
            <details className="more" open={at('metadata').length + at('expiresIn').length > 0 || undefined}>
              <summary>More: expiry, metadata of the batch</summary>
              <div className="stack">
                <Expiry value={expiry} onChange={setExpiry} errors={at('expiresIn')} byTemplate />
                <JsonInput label="Metadata of the batch" object value={metadata} onChange={setMetadata} errors={at('metadata')} rows={3} hint={'Each submission has its own. {"run": "november"}'} />
              </div>
            </details>
          </div>
        </Section>
        <div className="wide stack">
          <Problems of={others(problems, ['input', 'templateId'], ['input', 'metadata'], ['input', 'expiresIn'])} />
          <div className="send">
            <button type="submit" className="primary" disabled={!mayWrite || !ready}>
              {ready ? `Create ${count(table.rows.length, 'submission')}` : 'Create the batch'}
            </button>
            <span className="quiet">
              {!mayWrite
                ? readOnly
                : !file
                  ? 'Choose a file first.'
                  : !ready
                    ? 'Mend the file, then choose it again.'
                    : table.rows.length > most || partsOf(table.rows, most, largest).length > 1
                      ? `Sent as ${partsOf(table.rows, most, largest).length} batches, one after the other.`
                      : 'Nothing is sent before this.'}
            </span>
          </div>
        </div>
      </form>
    </Screen>
  )
}

/** A place to drop a file onto, or to choose one. */
function FileDrop({ file, onFile }: { file: Source | undefined; onFile: (file: Source) => void }) {
  const [over, setOver] = useState(false)
  const [wrong, setWrong] = useState('')
  async function take(found: File | undefined) {
    if (!found) return
    if (found.size > 200e6) return setWrong(`${found.name} has ${bytes(found.size)}: too much for a page. Split it, or use the API.`)
    setWrong('')
    const { text, encoding } = textOf(await found.arrayBuffer())
    onFile({ name: found.name, size: found.size, text, encoding, json: /\.json$/i.test(found.name) || /^\s*\[\s*[{[]/.test(text.slice(0, 1000)) })
  }
  const drag = (e: DragEvent, over: boolean) => {
    e.preventDefault()
    setOver(over)
  }
  return (
    <Field label="CSV or JSON file" errors={wrong ? [wrong] : []} hint="CSV: the first row names the fields; customer.name becomes the name of customer. JSON: an array of data, or of {data, metadata}.">
      {(given) => (
        <div
          className={over ? 'drop over' : 'drop'}
          onDragOver={(e) => drag(e, true)}
          onDragLeave={(e) => drag(e, false)}
          onDrop={(e) => {
            drag(e, false)
            void take(e.dataTransfer.files[0])
          }}
        >
          {file ? (
            <p>
              <strong>{file.name}</strong> <span className="quiet">{bytes(file.size)}</span>
            </p>
          ) : (
            <p>Drop a file here, or</p>
          )}
          <label className="button" htmlFor={given.id}>
            {file ? 'Choose another' : 'Choose a file'}
          </label>
          <input
            {...given}
            type="file"
            accept=".csv,.tsv,.txt,.json,text/csv,application/json"
            onChange={(e) => {
              void take(e.currentTarget.files?.[0])
              e.currentTarget.value = '' // so that the same file, mended, can be chosen again
            }}
          />
        </div>
      )}
    </Field>
  )
}

function Mistakes({ of: { mistakes, rows }, json }: { of: Table; json: boolean }) {
  if (!mistakes.length && rows.length) return null
  if (!mistakes.length)
    return (
      <div role="alert" className="problems">
        <p>There are names of columns, but no rows.</p>
      </div>
    )
  return (
    <div role="alert" className="problems">
      <p>
        <strong>{count(mistakes.length, 'mistake')} in the file.</strong> Nothing was sent.
      </p>
      <ul className="mistakes">
        {mistakes.slice(0, shownMistakes).map((m, i) => (
          <li key={i}>
            {json ? (rows.length || m.line > 1 ? `Element ${m.line}: ` : '') : `Line ${m.line}: `}
            {m.message}
          </li>
        ))}
        {mistakes.length > shownMistakes && <li>and {mistakes.length - shownMistakes} more</li>}
      </ul>
    </div>
  )
}

const text = (value: unknown) => (value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value))

function Preview({ of: { rows, columns }, json }: { of: Table; json: boolean }) {
  const first = rows.slice(0, shownRows)
  const names = json ? [...new Set(first.flatMap((r) => (typeof r.data === 'object' && r.data && !Array.isArray(r.data) ? Object.keys(r.data) : [])))].slice(0, 12) : columns
  const value = (row: Row, name: string) =>
    (json ? [name] : name.split('.')).reduce<unknown>((of, part) => (of && typeof of === 'object' ? (of as Record<string, unknown>)[part] : undefined), row.data)
  return (
    <div>
      <p>
        <strong>{count(rows.length, 'row')}</strong>
        {rows.length > shownRows && `; the first ${shownRows}:`}
      </p>
      <div className="table preview" tabIndex={0} role="region" aria-label="First rows">
        <table>
          <thead>
            <tr>
              <th scope="col">{json ? '#' : 'Line'}</th>
              {names.map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
              {json && first.some((r) => r.metadata) && <th scope="col">Metadata</th>}
            </tr>
          </thead>
          <tbody>
            {first.map((row) => (
              <tr key={row.line}>
                <td>{row.line}</td>
                {names.map((name) => (
                  <td key={name} className={typeof value(row, name) === 'number' ? 'number' : undefined}>
                    {text(value(row, name))}
                  </td>
                ))}
                {json && first.some((r) => r.metadata) && <td>{text(row.metadata)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  )
}

/** What is sent, in parts; the key makes that no part is made twice. */
interface Order {
  parts: Row[][]
  key: string
  file: Source
  input: Omit<CreateSubmissionBatchInput, 'submissions'>
}

/** Sends the parts one after the other. Where one fails, it goes on from there, with the same key. */
function Sending({ order, onOne, onRefused }: { order: Order; onOne: (batch: BatchPartsFragment) => void; onRefused: (problems: Problem[]) => void }) {
  const { parts, key, input, file } = order
  const [made, setMade] = useState<BatchPartsFragment[]>([])
  const [problems, setProblems] = useState<Problem[]>([])
  const [waiting, setWaiting] = useState(0)
  const running = useRef(false)
  const gone = useRef(false)
  const stop = useRef<() => void>(() => {})

  async function run(from: number) {
    if (running.current) return
    running.current = true
    setProblems([])
    for (let i = from; i < parts.length && !gone.current; i++) {
      const submissions = parts[i]!.map(({ data, metadata }) => ({ data, metadata }))
      const { data, error } = await client.mutation(CreateBatchDocument, { input: { ...input, submissions, idempotencyKey: `${key}-${i}` } }).toPromise()
      if (gone.current) return
      const payload = data?.createSubmissionBatch
      const full = payload?.userErrors.find((e) => e.code === 'QUEUE_FULL')
      if (full) {
        // Many documents are on their way already: there is room again when some are made.
        const seconds = 'retryAfter' in full ? Number(full.retryAfter) : 5
        setWaiting(seconds)
        await new Promise<void>((resolve) => {
          stop.current = resolve
          setTimeout(resolve, seconds * 1000)
        })
        setWaiting(0)
        i--
        continue
      }
      const found = [...problemsOf(error), ...refusals(payload)].map((p) => inFile(p, parts[i]!, file.json))
      if (found.length) {
        running.current = false
        // Nothing was made yet, and the request itself was at fault: back to the form.
        if (i === 0 && !error) return onRefused(found)
        return setProblems(found)
      }
      if (payload?.batch) {
        const { batch } = payload
        if (parts.length === 1) return onOne(batch)
        setMade((before) => [...before, batch])
      }
    }
    running.current = false
  }
  useEffect(() => {
    gone.current = false
    void run(0)
    return () => {
      gone.current = true
      stop.current()
    }
  }, [])

  const sent = parts.slice(0, made.length).reduce((sum, part) => sum + part.length, 0)
  const all = parts.reduce((sum, part) => sum + part.length, 0)
  const done = made.length === parts.length
  useEffect(() => {
    if (done) return
    const warn = (e: BeforeUnloadEvent) => e.preventDefault() // the rest would not be sent
    addEventListener('beforeunload', warn)
    return () => removeEventListener('beforeunload', warn)
  }, [done])

  return (
    <>
      <Section title={done ? 'All is sent' : problems.length ? 'Stopped on the way' : 'Sending'}>
        <div className="stack">
          <Announce text={done ? 'All is sent' : waiting ? 'The queue is full, waiting' : ''} />
          <progress max={all} value={sent} aria-label="Sent" />
          <p>
            {sent.toLocaleString()} of {count(all, 'submission')} sent, in {made.length} of {count(parts.length, 'batch', 'batches')}.{!done && !problems.length && ' Stay on this page until all are.'}
          </p>
          {waiting > 0 && <p className="quiet">The queue is full. It goes on by itself in {waiting} seconds.</p>}
          <Problems of={problems} />
          {problems.length > 0 && (
            <div className="row">
              <button type="button" className="primary" onClick={() => void run(made.length)}>
                Go on
              </button>
              <span className="quiet">Nothing is made twice: what arrived is recognised.</span>
            </div>
          )}
        </div>
      </Section>
      {made.length > 0 && (
        <Section title="Batches">
          <ul className="actions">
            {made.map((batch) => (
              <Made key={batch.id} of={batch} />
            ))}
          </ul>
        </Section>
      )}
    </>
  )
}

function Made({ of }: { of: BatchPartsFragment }) {
  const batch = useLiveBatch(of)
  return (
    <li>
      <div className="head">
        <span className="row">
          <State of={batch.state} />
          <Link to={'/batches/' + batch.id}>{batch.id}</Link>
        </span>
      </div>
      <BatchProgress of={batch} />
    </li>
  )
}

/** A refusal that names a submission of the call, with the place in the file. */
function inFile(problem: Problem, part: Row[], json: boolean): Problem {
  const [input, submissions, place, ...rest] = problem.path
  const row = input === 'input' && submissions === 'submissions' ? part[Number(place)] : undefined
  if (!row) return problem
  return { ...problem, path: [], message: `${json ? 'Element' : 'Line'} ${row.line}${rest.length ? `, ${rest.join(' › ')}` : ''}: ${problem.message}` }
}
