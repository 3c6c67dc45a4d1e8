import { useRef } from 'react'

/**
 * A signed address as this page reaches it. Platen's base URL may be another name of the same
 * server, and the page's policy lets nothing in that comes from elsewhere.
 */
export function here(url: string): string {
  const { pathname, search } = new URL(url)
  return pathname + search
}

/** Brings a file to where it belongs, and says how far it is. Answers with what went wrong, or nothing. */
export function put(file: File, request: { method: string; url: string; headers: { name: string; value: string }[] }, progress: (sent: number) => void, signal: AbortSignal): Promise<string | undefined> {
  // fetch cannot say how much of a body it has sent.
  return new Promise((resolve) => {
    const sending = new XMLHttpRequest()
    sending.open(request.method, here(request.url))
    for (const { name, value } of request.headers) sending.setRequestHeader(name, value)
    sending.upload.onprogress = (e) => progress(e.loaded)
    sending.onload = () => resolve(sending.status < 300 ? undefined : sending.responseText.trim() || `The server answered with HTTP ${sending.status}.`)
    sending.onerror = () => resolve('The connection broke while the file was sent. Send it again.')
    sending.onabort = () => resolve('Stopped.')
    signal.addEventListener('abort', () => sending.abort())
    sending.send(file)
  })
}

/** A key that nobody has used. */
export function newKey(): string {
  // Not randomUUID: a page that came by plain http from another machine does not have it.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** An idempotency key that stays the same while the same is sent: sending again after a lost answer makes nothing twice. */
export function useKey() {
  const last = useRef({ input: '', key: '' })
  return (input: unknown) => {
    const text = JSON.stringify(input)
    if (text !== last.current.input) last.current = { input: text, key: newKey() }
    return last.current.key
  }
}
