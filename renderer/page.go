package renderer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"platen/egress"

	"github.com/go-rod/rod/lib/cdp"
	"github.com/go-rod/rod/lib/proto"
)

// owner is whom a page may serve. Nobody else ever gets it: accounts would share
// a cache and a process, and scripts once on may leave something behind.
type owner struct {
	account string
	scripts bool
}

// page is an incognito context with one tab, and so a renderer process of its own.
// One render at a time has it.
type page struct {
	browser *browser
	owner   owner
	context proto.BrowserBrowserContextID
	session proto.TargetSessionID
	frame   proto.PageFrameID
	// life ends with the page or with its browser; the cause is why.
	life context.Context
	end  context.CancelCauseFunc
	// loaded holds the latest load event.
	loaded chan struct{}
	assets assets
	// doubt is set when a document did what may outlive it.
	doubt atomic.Bool
	// moved is set when the document, or a frame in it, went to an address.
	moved atomic.Bool
	// left is set when the document itself did: what is printed is then another one.
	left atomic.Bool

	// What the tab is set to, so that it is told only of changes.
	media   string
	network bool

	uses  int
	since time.Time // when its last render ended
	blank bool      // nothing of the last document is there
}

// newPage makes a context and a tab with scripts on or off for good.
func newPage(ctx context.Context, b *browser, o owner) (*page, error) {
	ctx, cancel := within(ctx, b.life)
	defer cancel()
	root := session{connection: b.connection, ctx: ctx}
	made, err := proto.TargetCreateBrowserContext{DisposeOnDetach: true}.Call(root)
	if err != nil {
		return nil, err
	}
	p := &page{browser: b, owner: o, context: made.BrowserContextID, loaded: make(chan struct{}, 1), blank: true}
	p.assets.reset()
	p.life, p.end = context.WithCancelCause(b.life)
	if err := p.open(root); err != nil {
		p.dispose()
		return nil, err
	}
	return p, nil
}

func (p *page) open(root session) error {
	target, err := proto.TargetCreateTarget{URL: "about:blank", BrowserContextID: p.context}.Call(root)
	if err != nil {
		return err
	}
	p.frame = proto.PageFrameID(target.TargetID)
	attached, err := proto.TargetAttachToTarget{TargetID: target.TargetID, Flatten: true}.Call(root)
	if err != nil {
		return err
	}
	p.session = attached.SessionID
	p.browser.handle(p.session, p.event)
	p.browser.mu.Lock()
	p.browser.pages[p.session] = p
	p.browser.mu.Unlock()

	tab := p.at(root.ctx)
	if err := (proto.PageEnable{}).Call(tab); err != nil {
		return err
	}
	if err := (proto.InspectorEnable{}).Call(tab); err != nil {
		return err
	}
	if p.owner.scripts {
		return nil
	}
	return proto.EmulationSetScriptExecutionDisabled{Value: true}.Call(tab)
}

// at is the page's session under ctx, which must end with the page's life.
func (p *page) at(ctx context.Context) session {
	return session{connection: p.browser.connection, ctx: ctx, id: p.session}
}

func (p *page) event(method string, params json.RawMessage) {
	switch method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Inspector.targetCrashed":
		p.end(errPageCrashed)
	case "Page.frameAttached", "Page.windowOpen", "Page.downloadWillBegin":
		p.doubt.Store(true)
	case "Page.frameRequestedNavigation", "Page.frameStartedNavigating", "Page.frameNavigated":
		p.doubt.Store(true)
		p.moved.Store(true)
		var to struct {
			FrameID        proto.PageFrameID
			NavigationType string
			Frame          struct{ ID proto.PageFrameID }
		}
		// A frame in the document may go where it likes, and a document to its own anchors.
		if json.Unmarshal(params, &to) == nil && (to.FrameID == p.frame || to.Frame.ID == p.frame) && to.NavigationType != "sameDocument" {
			p.left.Store(true)
		}
	case "Page.javascriptDialogOpening":
		// A dialog holds its page until it is answered. The answer to this is nobody's concern.
		go p.browser.call(p.life, p.session, "Page.handleJavaScriptDialog", proto.PageHandleJavaScriptDialog{Accept: true})
	default:
		p.assets.event(method, params)
	}
}

// job is what one render needs of a page.
type job struct {
	markup
	media    string
	print    map[string]any
	proxy    *egress.Proxy
	timeout  time.Duration // from when it has a page
	deadline time.Time     // set when it has its first
	step     string        // what it is doing, for the failure of a timeout
}

// render loads the document and prints it.
func (p *page) render(ctx context.Context, j *job) ([]byte, error) {
	ctx, cancel := within(ctx, p.life)
	defer cancel()
	pdf, err := p.loadAndPrint(ctx, j)
	if err != nil && p.life.Err() != nil {
		return nil, context.Cause(p.life) // whatever the tab answered while it went away
	}
	var refused *cdp.Error
	if errors.As(err, &refused) && p.moved.Load() {
		return nil, errPageMoved
	}
	return pdf, err
}

func (p *page) loadAndPrint(ctx context.Context, j *job) ([]byte, error) {
	tab := p.at(ctx)
	if err := p.prepare(tab, j); err != nil {
		return nil, err
	}
	p.uses++
	p.blank = false
	p.doubt.Store(false)
	p.moved.Store(false)
	p.left.Store(false)
	p.assets.reset()
	p.forgetLoad()

	j.step = "loading the page"
	if err := (proto.PageSetDocumentContent{FrameID: p.frame, HTML: j.html}).Call(tab); err != nil {
		return nil, err
	}
	if err := p.waitForLoad(ctx); err != nil {
		return nil, err
	}
	if p.left.Load() {
		return nil, errPageMoved
	}
	if j.images {
		j.step = "loading images"
		if err := p.brokenImages(tab); err != nil {
			return nil, err
		}
	}
	if j.fonts {
		j.step = "loading fonts"
		if _, err := (proto.RuntimeEvaluate{Expression: "document.fonts.ready.then(()=>1)", AwaitPromise: true}).Call(tab); err != nil {
			return nil, err
		}
	}
	if failure := assetFailure(p.assets.failed(j.proxy), j.proxy.Setting()); failure != nil {
		return nil, failure
	}
	j.step = "printing"
	answer, err := tab.call(ctx, p.session, "Page.printToPDF", j.print)
	if err != nil {
		return nil, err
	}
	if p.left.Load() {
		return nil, errPageMoved
	}
	// Printing can load what the screen did not need.
	if failure := assetFailure(p.assets.failed(j.proxy), j.proxy.Setting()); failure != nil {
		return nil, failure
	}
	return decodePDF(answer)
}

// findBroken lists the sources of images that did not become pictures. decode tells
// a broken one from an SVG without a size of its own.
const findBroken = `(async () => {
	const broken = [];
	for (const image of document.images) {
		const source = image.currentSrc || image.getAttribute('src');
		if (!source || !image.complete || image.naturalWidth) continue;
		await image.decode().catch(() => broken.push(source.slice(0, 200)));
		if (broken.length === 20) break;
	}
	return JSON.stringify(broken);
})()`

// brokenImages finds the images that no request tells of: relative addresses, which
// lead nowhere here, and data: addresses that hold no picture. Those that a request
// was made for are left to the assets.
func (p *page) brokenImages(tab session) error {
	answer, err := proto.RuntimeEvaluate{Expression: findBroken, AwaitPromise: true, ReturnByValue: true}.Call(tab)
	if err != nil {
		return err
	}
	var sources []string
	if json.Unmarshal([]byte(answer.Result.Value.Str()), &sources) != nil {
		return nil // a script has tampered with what this uses: its document is its own affair
	}
	var failed []asset
	for _, source := range sources {
		scheme, _, _ := strings.Cut(strings.ToLower(source), ":")
		switch {
		case scheme == "http" || scheme == "https":
		case scheme == "data":
			failed = append(failed, asset{URL: source[:min(len(source), 40)], Type: "Image", Error: "it holds no picture that the browser can read"})
		default:
			failed = append(failed, asset{URL: withoutQuery(source), Type: "Image", Error: "it is not a full http or https address, and there is no folder here that it could be relative to"})
		}
	}
	if failure := assetFailure(failed, ""); failure != nil {
		return failure
	}
	return nil
}

// prepare sets the tab to what the document needs.
func (p *page) prepare(tab session, j *job) error {
	if p.media != j.media {
		if err := (proto.EmulationSetEmulatedMedia{Media: j.media}).Call(tab); err != nil {
			return err
		}
		p.media = j.media
	}
	// Off where nothing is loaded: it would send every data: image back to us.
	if p.network != j.addresses {
		var err error
		if j.addresses {
			// One byte: bodies are not kept for us to ask for.
			one := 1
			err = proto.NetworkEnable{MaxTotalBufferSize: &one, MaxResourceBufferSize: &one}.Call(tab)
		} else {
			err = proto.NetworkDisable{}.Call(tab)
		}
		if err != nil {
			return err
		}
		p.network = j.addresses
	}
	return nil
}

func (p *page) forgetLoad() {
	select {
	case <-p.loaded:
	default:
	}
}

func (p *page) waitForLoad(ctx context.Context) error {
	select {
	case <-p.loaded:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// resetTimeout bounds what is done between two documents.
const resetTimeout = 5 * time.Second

// reset takes the page back to an empty one, of which no script, timer, name or
// history of the last document is left.
func (p *page) reset() error {
	ctx, cancel := context.WithTimeout(p.life, resetTimeout)
	defer cancel()
	tab := p.at(ctx)
	p.forgetLoad()
	navigated, err := proto.PageNavigate{URL: "about:blank"}.Call(tab)
	if err != nil {
		return err
	}
	if navigated.ErrorText != "" {
		return errors.New(navigated.ErrorText)
	}
	if err := p.waitForLoad(ctx); err != nil {
		return err
	}
	if err := (proto.PageResetNavigationHistory{}).Call(tab); err != nil {
		return err
	}
	if p.network {
		if err := (proto.NetworkClearBrowserCookies{}).Call(tab); err != nil {
			return err
		}
	}
	// The name outlives documents. In a new one, no script can have tampered with this.
	left, err := proto.RuntimeEvaluate{Expression: "window.name='';location.href"}.Call(tab)
	if err != nil {
		return err
	}
	if left.Result.Value.Str() != "about:blank" {
		return fmt.Errorf("the page is at %s after its reset", left.Result.Value.Str())
	}
	p.blank = true
	return nil
}

// dispose ends the context: its tab, popups, workers, and its process, whatever
// that is doing.
func (p *page) dispose() {
	p.browser.mu.Lock()
	delete(p.browser.pages, p.session)
	p.browser.mu.Unlock()
	if p.session != "" {
		p.browser.handle(p.session, nil)
	}
	p.end(errPageClosed)
	ctx, cancel := context.WithTimeout(p.browser.life, resetTimeout)
	defer cancel()
	err := proto.TargetDisposeBrowserContext{BrowserContextID: p.context}.Call(session{connection: p.browser.connection, ctx: ctx})
	if errors.Is(err, context.DeadlineExceeded) {
		p.browser.kill() // it does not even answer that
	}
}

// decodePDF takes the PDF out of the answer to Page.printToPDF. It avoids the
// JSON decoder, which would go over many megabytes three times.
func decodePDF(answer json.RawMessage) ([]byte, error) {
	_, data, found := bytes.Cut(answer, []byte(`"data":"`))
	end := bytes.IndexByte(data, '"')
	if !found || end < 0 {
		return nil, fmt.Errorf("the browser's answer to printing is not a PDF: %.100s", answer)
	}
	pdf := make([]byte, base64.StdEncoding.DecodedLen(end))
	n, err := base64.StdEncoding.Decode(pdf, data[:end])
	return pdf[:n], err
}
