// Light or dark: as the system has it, unless somebody chose. The page and the playground share the choice.
const place = 'platen:theme'

export type Theme = 'system' | 'light' | 'dark'

export function theme(): Theme {
  try {
    const chosen = localStorage.getItem(place)
    return chosen === 'light' || chosen === 'dark' ? chosen : 'system'
  } catch {
    return 'system' // a browser that keeps nothing
  }
}

/** Shows a theme: the one that was chosen, if no other is given. */
export function showTheme(chosen = theme()) {
  if (chosen === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = chosen
}

export function chooseTheme(chosen: Theme) {
  try {
    if (chosen === 'system') localStorage.removeItem(place)
    else localStorage.setItem(place, chosen)
  } catch {
    // it holds for this visit alone
  }
  showTheme(chosen)
}

/** Calls f when the theme is chosen in another tab. */
export function onThemeElsewhere(f: () => void) {
  const listen = (e: StorageEvent) => (e.key === place || e.key === null) && f()
  addEventListener('storage', listen)
  return () => removeEventListener('storage', listen)
}
