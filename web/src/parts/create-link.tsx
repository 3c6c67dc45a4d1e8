import type { ReactNode } from 'react'
import { Link } from 'wouter'
import { useViewer } from './viewer'

/** A link to where something is made; with a token that may only read, it says why there is none. */
export function CreateLink({ to, children, primary }: { to: string; children: ReactNode; primary?: boolean }) {
  const { mayWrite } = useViewer()
  if (mayWrite)
    return (
      <Link to={to} className={primary ? 'button primary' : 'button'}>
        {children}
      </Link>
    )
  return (
    <button type="button" disabled title={readOnly}>
      {children}
    </button>
  )
}

export const readOnly = 'This API token may only read. Sign in with one that may write.'
