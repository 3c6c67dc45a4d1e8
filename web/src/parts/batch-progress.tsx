import { useState } from 'react'
import { useSubscribed } from '../api/feed'
import { BatchUpdatedDocument, type BatchPartsFragment } from '../api/generated'
import { count } from './parts'
import './making.css'

/** A batch as it is now. It is followed for as long as something in it is pending. */
export function useLiveBatch<T extends BatchPartsFragment>(read: T): T {
  const [changed, setChanged] = useState<BatchPartsFragment>()
  const now = changed?.id === read.id && changed.revision >= read.revision ? { ...read, ...changed } : read
  useSubscribed(
    BatchUpdatedDocument,
    { id: read.id },
    ({ submissionBatchUpdated: { batch } }) => setChanged((known) => (known?.id === batch.id && known.revision > batch.revision ? known : batch)),
    now.state !== 'PENDING',
  )
  return now
}

/** How far a batch is: a bar, and the same in words. */
export function BatchProgress({ of: { totalCount, pendingCount, processedCount, failedCount } }: { of: BatchPartsFragment }) {
  const done = totalCount - pendingCount
  return (
    <span className="batch-progress">
      <span className="meter" role="progressbar" aria-label="Progress" aria-valuemin={0} aria-valuemax={totalCount} aria-valuenow={done} aria-valuetext={`${done} of ${totalCount} done, ${failedCount} failed`}>
        <span className="good" style={{ width: `${(100 * processedCount) / totalCount}%` }} />
        <span className="bad" style={{ width: `${(100 * failedCount) / totalCount}%` }} />
      </span>
      <span className="row quiet">
        {pendingCount > 0 ? (
          <span>
            {done.toLocaleString()} of {count(totalCount, 'submission')}
          </span>
        ) : (
          <span>{count(totalCount, 'submission')}</span>
        )}
        {failedCount > 0 && (
          <strong className="failed">
            <span aria-hidden="true">✕</span> {failedCount.toLocaleString()} failed
          </strong>
        )}
      </span>
    </span>
  )
}
