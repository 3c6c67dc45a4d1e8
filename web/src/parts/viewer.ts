import { createContext, useContext } from 'react'
import type { ViewerQuery } from '../api/generated'

/** Who is signed in: the account, and what the token may do. */
export const Viewer = createContext<ViewerQuery | null>(null)

const order = { READ: 0, WRITE: 1, ADMIN: 2 } as const

/** The account, and whether the token may write (documents, templates) or administer (integrations, tokens). */
export function useViewer() {
  const viewer = useContext(Viewer)
  if (!viewer) throw new Error('nobody is signed in')
  const { account, currentApiToken: token } = viewer
  return { account, token, mayWrite: order[token.scope] >= order.WRITE, mayAdminister: order[token.scope] >= order.ADMIN, testOnly: token.environment === 'TEST' }
}
