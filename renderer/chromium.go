package renderer

import (
	"errors"
	"fmt"
	"os/exec"

	"golang.org/x/sys/unix"
)

// ErrNotInstalled says that this machine has no Chromium that can be used.
var ErrNotInstalled = errors.New("Chromium is not installed")

// Find looks for the headless Chromium of Debian and of the usual downloads. The
// headless shell comes first: it prints the same PDF in a third of the time. The
// error wraps ErrNotInstalled and says how to get it.
func Find() (path string, err error) {
	for _, candidate := range []string{
		"/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell", "chrome-headless-shell",
		// Not /usr/bin/chromium: the script there adds flags of its own.
		"/usr/lib/chromium/chromium", "google-chrome-stable",
	} {
		if path, err = exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: apt-get install chromium-headless-shell (or chromium)", ErrNotInstalled)
}

// bypassNothing sends loopback addresses through the proxy as well.
const bypassNothing = "<-loopback>"

// flags of every Chromium. What they must keep: the sandbox, the zygote, a
// process for each context, and no way out but the proxy. By default Chromium
// goes around a proxy for loopback addresses, and WebRTC and QUIC go around it
// for all. RenderDocument would make a new frame, with a compositor, for each document of a tab;
// between two of one account that is a third of the work, and the window is a new one in any case.
var flags = []string{
	"--headless", "--remote-debugging-pipe",
	"--proxy-bypass-list=" + bypassNothing, "--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--disable-quic",
	"--js-flags=--max-old-space-size=256",
	"--blink-settings=lazyLoadEnabled=false", // a page that is printed is never scrolled
	"--font-render-hinting=none", "--force-color-profile=srgb", "--hide-scrollbars", "--mute-audio",
	"--disable-gpu", "--disable-software-rasterizer",
	"--disable-background-networking", "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
	"--disable-breakpad", "--disable-component-update", "--disable-default-apps", "--disable-domain-reliability",
	"--disable-extensions", "--disable-hang-monitor", "--disable-renderer-backgrounding", "--disable-sync",
	"--disable-features=Translate,MediaRouter,OptimizationHints,BackForwardCache,RenderDocument",
	"--metrics-recording-only", "--no-first-run", "--no-pings", "--password-store=basic", "--use-mock-keychain",
}

// arguments are those of a Chromium that works in dir.
func arguments(dir, proxy string) []string {
	all := append([]string{"--user-data-dir=" + dir, "--proxy-server=" + proxy}, flags...)
	var shm unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &shm); err != nil || shm.Blocks*uint64(shm.Bsize) < 512<<20 {
		// Containers have 64 MB, on which large images crash.
		all = append(all, "--disable-dev-shm-usage")
	}
	return all
}
