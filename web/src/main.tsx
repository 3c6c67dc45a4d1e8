import { createRoot } from 'react-dom/client'
import { App } from './app'
import { onThemeElsewhere, showTheme } from './parts/theme'
import './style.css'

showTheme()
onThemeElsewhere(() => showTheme())
createRoot(document.getElementById('page')!).render(<App />)
