import { useEffect, useRef } from 'react'
import { useRead } from '../api/read'
import { Link } from 'wouter'
import { problemsOf } from '../api/client'
import { useFeed, useReset } from '../api/feed'
import { BatchesDocument, type BatchPartsFragment } from '../api/generated'
import { BatchProgress, useLiveBatch } from '../parts/batch-progress'
import { CreateLink } from '../parts/create-link'
import { Metadata } from '../parts/documents-table'
import { Busy, Empty, Pager, Problems, Screen, State, Tag, Time, usePages } from '../parts/parts'

// A new batch shows in the feed by its submissions, up to a thousand of them.
const gathering = 500

/** The account's batches, newest first. */
export function Batches() {
  const pages = usePages()
  const [{ data, fetching, error }, query] = useRead({ query: BatchesDocument, variables: { after: pages.after } })
  const again = () => query({ requestPolicy: 'network-only' })
  useReset(again)
  const read = data?.submissionBatches
  const seen = useRef(new Set<string>())
  for (const batch of read?.nodes ?? []) seen.current.add(batch.id)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(timer.current), [])
  useFeed((changes) => {
    if (!pages.first || !read) return
    for (const d of changes) {
      // Of an older batch is what happens to a batch of another page: that one's place is there.
      if (d.__typename !== 'Submission' || !d.batch || seen.current.has(d.batch.id) || d.createdAt < (read.nodes[0]?.createdAt ?? '')) continue
      seen.current.add(d.batch.id)
      timer.current ??= setTimeout(() => {
        timer.current = undefined
        again()
      }, gathering)
    }
  })
  const create = (
    <CreateLink to="/create/batch" primary>
      Create a batch
    </CreateLink>
  )
  return (
    <Screen title="Batches" actions={create}>
      <Problems of={problemsOf(error)} />
      {!read ? (
        fetching && <Busy />
      ) : read.nodes.length ? (
        <div className="table">
          <table className="cards">
            <caption className="hidden">Batches</caption>
            <thead>
              <tr>
                <th scope="col">State</th>
                <th scope="col">Batch</th>
                <th scope="col">Progress</th>
                <th scope="col">Created</th>
                <th scope="col">Done</th>
              </tr>
            </thead>
            <tbody>
              {read.nodes.map((batch) => (
                <Row key={batch.id} of={batch} />
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <Empty title="No batches yet">
          <p>A batch makes a document of each row of a table, a CSV or JSON file.</p>
          {create}
        </Empty>
      )}
      <Pager pages={pages} info={read?.pageInfo} />
    </Screen>
  )
}

function Row({ of }: { of: BatchPartsFragment }) {
  const batch = useLiveBatch(of)
  return (
    <tr>
      <td data-name="State">
        <State of={batch.state} />
      </td>
      <td data-name="Batch">
        <span className="lines">
          <span>
            <Link to={'/batches/' + batch.id} className="name">
              {batch.id}
            </Link>{' '}
            {batch.test && <Tag>Test</Tag>}
          </span>
          <Metadata metadata={batch.metadata} />
        </span>
      </td>
      <td data-name="Progress">
        <BatchProgress of={batch} />
      </td>
      <td data-name="Created" className="nowrap">
        <Time at={batch.createdAt} />
      </td>
      <td data-name="Done" className="nowrap">
        <Time at={batch.processedAt} />
      </td>
    </tr>
  )
}
