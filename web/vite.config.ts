import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import preact from '@preact/preset-vite'
import { defineConfig, type Plugin } from 'vite'

// The server sends files as they are in the binary: they are compressed here, once.
export function compressed(): Plugin {
  const worthwhile = /\.(js|css|html|svg|json|ttf)$/
  const walk = (dir: string): string[] =>
    readdirSync(dir).flatMap((name) => {
      const path = join(dir, name)
      return statSync(path).isDirectory() ? walk(path) : [path]
    })
  let dist = ''
  return {
    name: 'compressed',
    apply: 'build',
    configResolved: (config) => void (dist = join(config.root, config.build.outDir)),
    closeBundle() {
      for (const path of walk(dist).filter((path) => worthwhile.test(path))) {
        const copy = statSync(path + '.br', { throwIfNoEntry: false })
        if (copy && copy.mtimeMs >= statSync(path).mtimeMs) continue // by the build before: there are two
        const content = readFileSync(path)
        const quality = { [constants.BROTLI_PARAM_QUALITY]: content.length > 1 << 20 ? 9 : 11 }
        writeFileSync(path + '.br', brotliCompressSync(content, { params: quality }))
        writeFileSync(path + '.gz', gzipSync(content, { level: 9 }))
      }
    },
  }
}

// The server that `make dev` sends requests to.
const server = process.env.PLATEN_SERVER ?? 'http://127.0.0.1:8080'
const token = process.env.PLATEN_TOKEN // signs in whoever comes
const proxied = (ws: boolean) => ({ target: server, ws, headers: token ? { authorization: `Bearer ${token}` } : {} })

// The playground is built apart (playground.config.ts): in development it is the one that was built last.
function playground(): Plugin {
  const types: Record<string, string> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.ttf': 'font/ttf' }
  return {
    name: 'playground',
    apply: 'serve',
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = request.url!.replace(/\?.*/, '')
        const name = path === '/playground' ? 'playground.html' : /^\/assets\/[\w.-]+$/.test(path) ? path.slice(1) : undefined
        if (!name) return next()
        const file = join(server.config.root, server.config.build.outDir, name)
        if (statSync(file, { throwIfNoEntry: false })) response.setHeader('Content-Type', types[extname(name)] ?? '').end(readFileSync(file))
        else response.writeHead(404, { 'Content-Type': 'text/plain' }).end('Run `npm run build` once: the playground is not built yet.')
      })
    },
  }
}

export default defineConfig({
  plugins: [preact({ devToolsEnabled: false }), compressed(), playground()],
  optimizeDeps: { entries: ['index.html'] }, // not those of the playground
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800, // the editor
    assetsInlineLimit: 0, // the Content Security Policy allows no script from data:
  },
  server: {
    proxy: {
      '/graphql': proxied(true),
      '/session': proxied(false),
      '/files': proxied(false),
      '/schema.graphql': proxied(false),
    },
  },
})
