import { Component, lazy, Suspense, useCallback, useEffect, useRef, useState, type ComponentType, type ReactNode } from 'react'
import { Provider } from 'urql'
import { Link, Redirect, Route, Switch, useLocation } from 'wouter'
import { client, forget, problemsOf, signOut, socket, whenSignedOut, type Problem } from './api/client'
import { feed, useConnection } from './api/feed'
import { ViewerDocument, type ViewerQuery } from './api/generated'
import { Busy, Problems, Screen, Time } from './parts/parts'
import { Viewer } from './parts/viewer'
import { Account } from './screens/account'
import { Batch } from './screens/batch'
import { Batches } from './screens/batches'
import { CombinedSubmission } from './screens/combined-submission'
import { CombinedSubmissions } from './screens/combined-submissions'
import { CreateBatch } from './screens/create-batch'
import { CreateCombinedSubmission } from './screens/create-combined-submission'
import { CreateIntegration } from './screens/create-integration'
import { CreateSubmission } from './screens/create-submission'
import { Integration } from './screens/integration'
import { Integrations } from './screens/integrations'
import { Overview } from './screens/overview'
import { SignIn } from './screens/sign-in'
import { Submission } from './screens/submission'
import { Submissions } from './screens/submissions'
import { Templates } from './screens/templates'
import { Tokens } from './screens/tokens'

// What is large, or seldom needed, comes when it is.
const Template = lazy(() => import('./screens/template'))

const screens: [string, ComponentType][] = [
  ['/', Overview],
  ['/templates', Templates],
  ['/templates/:id', Template],
  ['/submissions', Submissions],
  ['/submissions/:id', Submission],
  ['/combined-submissions', CombinedSubmissions],
  ['/combined-submissions/:id', CombinedSubmission],
  ['/batches', Batches],
  ['/batches/:id', Batch],
  ['/create/submission', CreateSubmission],
  ['/create/batch', CreateBatch],
  ['/create/combined-submission', CreateCombinedSubmission],
  ['/create/integration', CreateIntegration],
  ['/integrations', Integrations],
  ['/integrations/:id', Integration],
  ['/tokens', Tokens],
  ['/account', Account],
]

// Where it leads, its name, and where what it lists is created.
const menu: [string, string, string?][] = [
  ['/', 'Overview'],
  ['/templates', 'Templates'],
  ['/submissions', 'Submissions', '/create/submission'],
  ['/combined-submissions', 'Combined', '/create/combined-submission'],
  ['/batches', 'Batches', '/create/batch'],
  ['/integrations', 'Integrations', '/create/integration'],
  ['/tokens', 'API tokens'],
]

/** The page: whoever is not signed in is asked to, everybody else sees the account. */
export function App() {
  const [viewer, setViewer] = useState<ViewerQuery | null>()
  const [problems, setProblems] = useState<Problem[]>([])

  const enter = useCallback(async () => {
    forget()
    const { data, error } = await client.query(ViewerDocument, {}, { requestPolicy: 'network-only' }).toPromise()
    setProblems([])
    if (data) {
      feed.start(data.account.feedCursor)
      setViewer(data)
    } else if (error?.graphQLErrors.length) setViewer(null)
    else setProblems(problemsOf(error))
  }, [])

  useEffect(() => {
    whenSignedOut(() => {
      feed.stop()
      socket.terminate()
      setViewer(null)
    })
    // A start address has its key behind the #: it is used up before anything else is asked.
    if (location.hash.startsWith('#start=')) setViewer(null)
    else void enter()
  }, [enter])

  if (problems.length)
    return (
      <main id="main" className="alone">
        <h1>Platen</h1>
        <Problems of={problems} />
        <button type="button" onClick={() => void enter()}>
          Try again
        </button>
      </main>
    )
  if (viewer === undefined) return <Busy />
  if (viewer === null) return <SignIn onEntered={enter} />
  return (
    <Provider value={client} key={viewer.account.id}>
      <Viewer.Provider value={viewer}>
        <Shell viewer={viewer} />
      </Viewer.Provider>
    </Provider>
  )
}

function Shell({ viewer }: { viewer: ViewerQuery }) {
  const [path] = useLocation()
  useEffect(() => window.scrollTo(0, 0), [path])
  const { account, currentApiToken: token } = viewer
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="top">
        <Link to="/" className="brand">
          <img src="/favicon.svg" alt="" width="24" height="24" /> Platen
        </Link>
        <nav aria-label="Main" className="menu">
          {menu.map(([to, name, create]) => (
            <MenuLink key={to} to={to} name={name} create={create} />
          ))}
          <a href="/playground">Playground</a>
        </nav>
        <div className="who">
          <ConnectionSign />
          <Link to="/account" title={`${token.name}: ${token.environment === 'TEST' ? 'test' : 'live'}, ${token.scope.toLowerCase()}`}>
            {account.name}
          </Link>
          {token.environment === 'TEST' && <span className="tag waiting">Test</span>}
          <button type="button" className="small" onClick={() => void signOut().then(() => location.assign('/'))}>
            Sign out
          </button>
        </div>
      </header>
      <ConnectionBar />
      <Fallen key={path}>
        <Suspense fallback={<Busy />}>
          <Switch>
            {screens.map(([at, Component]) => (
              <Route key={at} path={at}>
                <Component key={path} />
              </Route>
            ))}
            <Route path="/sign-in">
              <Redirect to="/" replace />
            </Route>
            <Route>
              <Screen title="There is nothing at this address">
                <p>
                  <Link to="/">Go to the overview</Link>, or look at <Link to="/submissions">the submissions</Link>.
                </p>
              </Screen>
            </Route>
          </Switch>
        </Suspense>
      </Fallen>
    </>
  )
}

/** What is shown of a screen that failed: the rest of the page goes on. */
class Fallen extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {}
  static getDerivedStateFromError = (error: Error) => ({ error })
  override render() {
    const { error } = this.state
    if (!error) return this.props.children
    return (
      <Screen title="This screen failed">
        <Problems of={[{ message: `${error.message}. If Platen was replaced meanwhile, loading the page anew helps.`, code: '', path: [] }]} />
        <p>
          <button type="button" className="primary" onClick={() => location.reload()}>
            Load anew
          </button>
        </p>
      </Screen>
    )
  }
}

function MenuLink({ to, name, create }: { to: string; name: string; create: string | undefined }) {
  const [path] = useLocation()
  const link = useRef<HTMLAnchorElement>(null)
  const here = path === to || path === create || (to !== '/' && path.startsWith(to + '/'))
  useEffect(() => {
    // On a narrow screen the menu is wider than the window.
    if (here) link.current?.scrollIntoView({ inline: 'center', block: 'nearest' })
  }, [here])
  return (
    <Link to={to} ref={link} aria-current={here ? 'page' : undefined}>
      {name}
    </Link>
  )
}

/** Whether the page is live, at a glance. */
function ConnectionSign() {
  const { state } = useConnection()
  const names = { connecting: 'Connecting', live: 'Live', lost: 'Not live' }
  return (
    <span className={`connection ${state}`} data-connection={state}>
      <span aria-hidden="true">●</span> {names[state]}
    </span>
  )
}

/** Says that what is shown may be old, and since when. */
function ConnectionBar() {
  const { state, since } = useConnection()
  useEffect(() => {
    document.documentElement.classList.toggle('stale', state === 'lost')
  }, [state])
  return (
    <div role="status" className="bar-slot">
      {state === 'lost' && since && (
        <p className="bar">
          The connection is lost: what you see is of <Time at={since.toISOString()} />. Connecting again; nothing will be missed.
        </p>
      )}
    </div>
  )
}
