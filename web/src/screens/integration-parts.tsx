import { useCallback, useEffect, useRef, useState } from 'react'
import { useSubscribed } from '../api/feed'
import { IntegrationActionsDocument, type HealthPartsFragment, type IntegrationHealthState } from '../api/generated'
import { Time } from '../parts/parts'

// What is read again because something changed waits a little for more of it, and comes once a second at most.
const moment = 150
const rest = 1000

/**
 * Calls again soon after actions have changed: all of the account, or those of one integration.
 * It also does so once the feed stands, so that nothing is missed that happened before.
 */
export function useActionChanges(integrationId: string | null, again: () => void) {
  const latest = useRef(again)
  latest.current = again
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const last = useRef(0)
  const soon = useCallback(() => {
    timer.current ??= setTimeout(
      () => {
        timer.current = undefined
        last.current = Date.now()
        latest.current()
      },
      Math.max(moment, last.current + rest - Date.now()),
    )
  }, [])
  useEffect(() => () => clearTimeout(timer.current), [])
  const [after, setAfter] = useState<string | null>(null)
  useSubscribed(IntegrationActionsDocument, { after, filter: integrationId ? { integrationId } : null }, ({ actionFeed: event }) => {
    if (event.__typename === 'FeedReset') setAfter(event.cursor)
    soon()
  })
}

const healthNames: Record<IntegrationHealthState, [string, string, string]> = {
  HEALTHY: ['good', '✓', 'Works'],
  FAILING: ['bad', '✕', 'Failing'],
  UNKNOWN: ['', '○', 'Not tried yet'],
}

/** Whether an integration works: what its newest attempt came to, and when that was. */
export function Health({ of }: { of: HealthPartsFragment }) {
  const [kind, sign, name] = healthNames[of.state]
  return (
    <>
      <span className={`state ${kind}`} data-health={of.state}>
        <span aria-hidden="true">{sign}</span> {name}
      </span>{' '}
      {of.checkedAt && (
        <span className="hint">
          <Time at={of.checkedAt} />
        </span>
      )}
    </>
  )
}

/** Where an integration delivers to. */
export function Destination({ of }: { of: { __typename: 'AwsS3Integration'; bucket: string; region: string; endpoint: string | null } | { __typename: 'WebhookIntegration'; url: string } }) {
  if (of.__typename === 'WebhookIntegration') return <code>{of.url}</code>
  return (
    <>
      <code>{of.bucket}</code> <span className="hint">{of.endpoint ? `${of.region}, ${of.endpoint.replace(/^https?:\/\//, '')}` : of.region}</span>
    </>
  )
}

export const services = { AwsS3Integration: 'AWS S3', WebhookIntegration: 'Webhook' } as const

/** Counting stops at 10,000. */
export const counted = (n: number) => (n >= 10_000 ? '10,000+' : n.toLocaleString())
