import { defineConfig, type Plugin } from 'vite'
import { compressed } from './vite.config.ts'

// GraphiQL's sheet has 450 KB of fonts in it. Those of the system will do.
const withoutFonts: Plugin = {
  name: 'without-fonts',
  enforce: 'pre',
  transform: (code, id) => (id.includes('graphiql/dist/style.css') ? code.replace(/@font-face\s*\{[^}]*\}/g, '') : undefined),
}

// The playground is GraphiQL, which is made for React itself. So it is built apart from the page,
// where React is Preact, and after it, into the same folder.
export default defineConfig({
  plugins: [withoutFonts, compressed()],
  publicDir: false,
  build: {
    rollupOptions: {
      input: 'playground.html',
      // "use client" is for servers that render React.
      onwarn: (warning, warn) => void (warning.code === 'MODULE_LEVEL_DIRECTIVE' || warn(warning)),
    },
    emptyOutDir: false,
    target: 'es2022',
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 4000, // Monaco
    assetsInlineLimit: 0, // the Content Security Policy allows no script from data:
  },
})
