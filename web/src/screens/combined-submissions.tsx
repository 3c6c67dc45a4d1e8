import { useRead } from '../api/read'
import { CombinedSubmissionsDocument } from '../api/generated'
import { CreateLink } from '../parts/create-link'
import { DocumentsList } from '../parts/documents-list'
import { useFilters } from '../parts/filters'
import { Empty, usePages } from '../parts/parts'

/** The account's combined submissions, newest first. */
export function CombinedSubmissions() {
  const filters = useFilters('CombinedSubmission')
  const pages = usePages()
  const [{ data, fetching, error }, again] = useRead({ query: CombinedSubmissionsDocument, variables: { after: pages.after, filter: filters.filter } })
  const create = (
    <CreateLink to="/create/combined-submission" primary>
      Create a combined submission
    </CreateLink>
  )
  return (
    <DocumentsList
      title="Combined submissions"
      noun="combined submission"
      actions={create}
      filters={filters}
      pages={pages}
      read={data?.combinedSubmissions}
      fetching={fetching}
      error={error}
      again={() => again({ requestPolicy: 'network-only' })}
      empty={
        <Empty title="No combined submissions yet">
          <p>A combined submission merges several PDFs into one: submissions, files of yours, addresses, a cover sheet.</p>
          {create}
        </Empty>
      }
    />
  )
}
