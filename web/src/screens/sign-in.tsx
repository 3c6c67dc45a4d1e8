import { useEffect, useState } from 'react'
import { signIn, type Problem } from '../api/client'
import { Busy, Input, Problems } from '../parts/parts'

/** The way in: with an API token, or by the start address that Platen printed. */
export function SignIn({ onEntered }: { onEntered: () => Promise<void> }) {
  const [token, setToken] = useState('')
  const [problems, setProblems] = useState<Problem[]>([])
  const [busy, setBusy] = useState(false)

  async function enter(by: { token: string } | { start: string }) {
    setBusy(true)
    const found = await signIn(by)
    if (!found.length) await onEntered()
    setProblems(found)
    setBusy(false)
  }
  useEffect(() => {
    document.title = 'Sign in · Platen'
    const start = location.hash.match(/^#start=(.+)$/)?.[1]
    if (!start) return
    history.replaceState(null, '', '/') // the key works once: it need not stay in the history
    void enter({ start })
  }, [])

  return (
    <main id="main" className="alone">
      <img src="/favicon.svg" alt="" width="48" height="48" />
      <h1>Sign in to Platen</h1>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          void enter({ token: token.trim() })
        }}
      >
        <Input
          label="API token"
          type="password"
          autoComplete="current-password"
          autoFocus
          required
          value={token}
          onInput={(e) => setToken(e.currentTarget.value)}
          hint={
            <>
              Platen printed the first tokens when it first started. If they are lost, <code>platen token create</code> makes another. With a private database, each start also prints an address that
              signs in once, within ten minutes.
            </>
          }
        />
        <Problems of={problems} />
        {busy ? (
          <Busy what="Signing in" />
        ) : (
          <button type="submit" className="primary">
            Sign in
          </button>
        )}
      </form>
    </main>
  )
}
