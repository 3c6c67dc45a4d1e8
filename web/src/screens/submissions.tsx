import { Link } from 'wouter'
import { useRead } from '../api/read'
import { SubmissionsDocument } from '../api/generated'
import { CreateLink } from '../parts/create-link'
import { DocumentsList } from '../parts/documents-list'
import { useFilters } from '../parts/filters'
import { Empty, usePages } from '../parts/parts'

/** The account's submissions, newest first. */
export function Submissions() {
  const filters = useFilters('Submission')
  const pages = usePages()
  const [{ data, fetching, error }, again] = useRead({ query: SubmissionsDocument, variables: { after: pages.after, filter: filters.filter } })
  return (
    <DocumentsList
      title="Submissions"
      noun="submission"
      actions={
        <>
          <CreateLink to="/create/batch">Create a batch</CreateLink>
          <CreateLink to="/create/submission" primary>
            Create a submission
          </CreateLink>
        </>
      }
      filters={filters}
      pages={pages}
      read={data?.submissions}
      fetching={fetching}
      error={error}
      again={() => again({ requestPolicy: 'network-only' })}
      empty={
        <Empty title="No submissions yet">
          <p>
            A submission turns data into a document: by <Link to="/templates">one of your templates</Link>, or from HTML or an address.
          </p>
          <CreateLink to="/create/submission" primary>
            Create a submission
          </CreateLink>
        </Empty>
      }
    />
  )
}
