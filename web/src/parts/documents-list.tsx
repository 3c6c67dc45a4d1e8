import { useEffect, type ReactNode } from 'react'
import type { CombinedError } from 'urql'
import { problemsOf } from '../api/client'
import { useLive } from '../api/feed'
import { Announce, useArrivals } from './announce'
import { DocumentsTable, type Row } from './documents-table'
import { FilterBar, type Filters } from './filters'
import { Busy, count, Empty, Pager, Problems, Screen, type usePages } from './parts'

/** A list of documents that keeps itself current: its filters, its rows, its pages. */
export function DocumentsList({
  title,
  noun,
  actions,
  filters,
  pages,
  read,
  fetching,
  error,
  again,
  empty,
}: {
  title: string
  noun: string
  actions: ReactNode
  filters: Filters
  pages: ReturnType<typeof usePages>
  read: { nodes: Row[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } } | undefined
  fetching: boolean
  error: CombinedError | undefined
  again: () => void
  empty: ReactNode
}) {
  const { documents, arrived } = useLive(read?.nodes, pages.first, filters.matches, again)
  const { fresh, said } = useArrivals(documents, filters.key + '\n' + pages.after, noun)
  useEffect(() => pages.start(), [filters.key]) // another list begins with its first page
  return (
    <Screen title={title} actions={actions}>
      <FilterBar of={filters} />
      <Problems of={problemsOf(error)} />
      <Announce text={said} />
      {arrived > 0 && (
        <p className="row">
          {count(arrived, `${noun} came`, `${noun}s came`)} since.{' '}
          <button type="button" className="small" onClick={pages.start}>
            Show the newest
          </button>
        </p>
      )}
      {!documents ? (
        fetching && <Busy />
      ) : documents.length ? (
        <DocumentsTable of={documents} caption={title} fresh={fresh} busy={fetching} />
      ) : filters.any ? (
        fetching ? (
          <Busy />
        ) : (
          <Empty title={`No ${noun} matches these filters`}>
            <button type="button" onClick={filters.clear}>
              Clear filters
            </button>
          </Empty>
        )
      ) : (
        empty
      )}
      <Pager pages={pages} info={read?.pageInfo} />
    </Screen>
  )
}
