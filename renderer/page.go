package renderer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"platen"
	"platen/egress"

	"github.com/go-rod/rod/lib/cdp"
	"github.com/go-rod/rod/lib/proto"
)

// owner is whom a page may serve. Nobody else ever gets it: accounts would share
// a cache and a process, and scripts once on may leave something behind.
type owner struct {
	account string
	scripts bool
	// once is a page at an address. It has a real origin, which keeps cookies, storage
	// and service workers, so it serves nobody again.
	once bool
	// offline is a page whose context has a way out that leads nowhere.
	offline bool
	// still is a page that is printed and never drawn: Chromium makes no frames of it, which
	// are a fourth of what an invoice costs (docs/performance.md). What only frames bring about does not happen there.
	still bool
	// ahead is a page that was made for whoever needs it next, and has served nobody.
	ahead bool
}

// kind is the owner of pages that were made ahead.
func (o owner) kind() owner {
	o.account, o.ahead = "", true
	return o
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
	// left counts how often the document itself did: what is printed is then another one.
	left atomic.Int64
	// begun is set when a render begins to load its document: what happened before was not
	// the document's doing.
	begun bool
	// travel follows the loading of a page at an address.
	travel travel

	// What the tab is set to, so that it is told only of changes.
	media   string
	network bool
	window  window

	first bool // this is its first document
	uses  int
	since time.Time // when its last render ended
	blank bool      // nothing of the last document is there
}

// newPage makes a context and a tab with scripts on or off for good. Where there is a
// page beside an error, it has to be disposed of; the error is errPageLost if nothing but
// this page is at fault.
func newPage(ctx context.Context, b *browser, o owner) (*page, error) {
	ctx, cancel := within(ctx, b.life)
	defer cancel()
	root := session{connection: b.connection, ctx: ctx}
	lost := func(err error) error {
		if err == nil || errors.Is(err, errBrowserGone) || b.life.Err() != nil || ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("%w: %v", errPageLost, err)
	}
	create := proto.TargetCreateBrowserContext{DisposeOnDetach: true}
	if o.offline {
		create.ProxyServer, create.ProxyBypassList = b.nowhere, bypassNothing
	}
	made, err := create.Call(root)
	if err != nil {
		return nil, lost(err)
	}
	p := &page{browser: b, owner: o, context: made.BrowserContextID, loaded: make(chan struct{}, 1), blank: true}
	p.travel.changed, p.assets.changed = make(chan struct{}, 1), make(chan struct{}, 1)
	p.assets.reset()
	p.life, p.end = context.WithCancelCause(b.life)
	return p, lost(p.open(root))
}

func (p *page) open(root session) error {
	if p.owner.once {
		deny := proto.BrowserSetDownloadBehavior{Behavior: proto.BrowserSetDownloadBehaviorBehaviorDeny, BrowserContextID: p.context}
		if err := deny.Call(root); err != nil {
			return err
		}
	}
	target, err := proto.TargetCreateTarget{URL: "about:blank", BrowserContextID: p.context, EnableBeginFrameControl: p.owner.still}.Call(root)
	if err != nil {
		return err
	}
	p.frame = proto.PageFrameID(target.TargetID)
	p.assets.frame = p.frame
	attached, err := proto.TargetAttachToTarget{TargetID: target.TargetID, Flatten: true}.Call(root)
	if err != nil {
		return err
	}
	p.session = attached.SessionID
	p.browser.handle(p.session, p.event)
	p.browser.mu.Lock()
	p.browser.pages[p.session] = p
	p.browser.mu.Unlock()

	ctx, cancel := within(root.ctx, p.life)
	defer cancel()
	tab := p.at(ctx)
	// First of all: it is what tells of a process that has died already, which answers to nothing.
	if err := (proto.InspectorEnable{}).Call(tab); err != nil {
		return err
	}
	if err := (proto.PageEnable{}).Call(tab); err != nil {
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
		signal(p.loaded)
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
			p.left.Add(1)
		}
	case "Page.frameStartedLoading", "Page.frameStoppedLoading", "Page.frameScheduledNavigation", "Page.frameClearedScheduledNavigation":
		p.travel.event(p.frame, method, params)
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
	address    string // of the page, in place of markup
	media      string
	print      map[string]any // parameters of a PDF
	screenshot *screenshot    // of an image, in place of a PDF
	wait       platen.WaitFor
	proxy      *egress.Proxy
	offline    bool          // proxy is the one that leads nowhere
	timeout    time.Duration // from when it has a page
	deadline   time.Time     // set when it has its first
	taken      time.Duration // how long it has waited for pages

	// For the failure of a timeout.
	step      string // what it is doing
	condition string // which condition it waits for
	exception string // what the latest try of the expression threw
}

// doing says what the job is at.
func (j *job) doing(step string) { j.step, j.condition, j.exception = step, "", "" }

// render loads the document and makes the file.
func (p *page) render(ctx context.Context, j *job) ([]byte, error) {
	ctx, cancel := within(ctx, p.life)
	defer cancel()
	p.begun = false
	file, err := p.make(ctx, j)
	if err != nil && !p.lives(ctx) {
		cause := context.Cause(p.life) // whatever the tab answered while it went away
		if !p.begun && !errors.Is(cause, errBrowserGone) {
			return nil, fmt.Errorf("%w: %v", errPageLost, cause)
		}
		return nil, cause
	}
	var refused *cdp.Error
	if errors.As(err, &refused) && p.moved.Load() && j.address == "" {
		return nil, errPageMoved
	}
	return file, err
}

// lives tells, of a page at which something failed, whether it is still there. A process that
// died may be told of only after what it was asked for has been answered with an error. A
// living one answers this, and of a dead one this makes Chromium tell.
func (p *page) lives(ctx context.Context) bool {
	if ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, livesTimeout)
		defer cancel()
		_ = proto.InspectorEnable{}.Call(p.at(ctx))
	}
	return p.life.Err() == nil
}

func (p *page) make(ctx context.Context, j *job) ([]byte, error) {
	tab := p.at(ctx)
	if err := p.readied(ctx, j); err != nil {
		return nil, err
	}
	p.uses++
	p.blank = false
	p.doubt.Store(false)
	p.moved.Store(false)
	p.left.Store(0)
	p.assets.reset()
	p.forgetLoad()
	p.begun = true // the expression is the document's as well
	j.doing("loading the page")
	if err := checkExpression(tab, j.wait.Expression); err != nil {
		return nil, err
	}
	if j.address != "" {
		return p.visit(tab, j)
	}
	if err := (proto.PageSetDocumentContent{FrameID: p.frame, HTML: j.html}).Call(tab); err != nil {
		return nil, err
	}
	if err := p.waitForLoad(ctx); err != nil {
		return nil, err
	}
	if p.left.Load() > 0 {
		return nil, errPageMoved
	}
	file, err := p.finish(tab, j)
	if p.left.Load() > 0 && ctx.Err() == nil {
		return nil, errPageMoved
	}
	return file, err
}

// finish waits for what a loaded page still has to reach, and makes the file.
func (p *page) finish(tab session, j *job) ([]byte, error) {
	if err := p.await(tab, j); err != nil {
		return nil, err
	}
	if j.images {
		j.doing("loading images")
		if err := p.brokenImages(tab); err != nil {
			return nil, err
		}
	}
	if j.fonts {
		j.doing("loading fonts")
		// Fonts are asked for by a layout, which a page that is still has not had yet.
		if _, err := (proto.RuntimeEvaluate{Expression: "document.documentElement?.offsetHeight,document.fonts.ready.then(()=>1)", AwaitPromise: true}).Call(tab); err != nil {
			return nil, err
		}
	}
	if err := p.missingAssets(j); err != nil {
		return nil, err
	}
	var file []byte
	var err error
	if j.screenshot != nil {
		j.doing("drawing")
		file, err = p.capture(tab, j.screenshot)
	} else {
		j.doing("printing")
		file, err = p.print(tab, j)
	}
	if err != nil {
		return nil, err
	}
	// Printing can load what the screen did not need.
	return file, p.missingAssets(j)
}

// missingAssets is the failure of a document that lacks some. A page at an address
// is somebody else's, who may live with that, and so has to be lived with here.
func (p *page) missingAssets(j *job) error {
	if j.address != "" {
		return nil
	}
	if failure := assetFailure(p.assets.failed(j.proxy), j.proxy.Setting()); failure != nil {
		return failure
	}
	return nil
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

// readied empties the tab where it has to be, and prepares it, within resetTimeout each. A page that owes an
// answer before it has its document is lost, and not the document's fault: it may wait for a compositor that has ended.
func (p *page) readied(ctx context.Context, j *job) (err error) {
	if j.screenshot != nil && !p.blank {
		// A window shows where the document before was scrolled to, as by autofocus.
		err = p.reset(ctx)
	}
	if err == nil {
		timed, cancel := context.WithTimeout(ctx, resetTimeout)
		defer cancel()
		err = p.prepare(p.at(timed), j)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: it does not take its settings: %v", errPageLost, err)
	}
	return err
}

// prepare sets the tab to what the document needs.
func (p *page) prepare(tab session, j *job) error {
	if p.media != j.media {
		if err := (proto.EmulationSetEmulatedMedia{Media: j.media}).Call(tab); err != nil {
			return err
		}
		p.media = j.media
	}
	var shown window // none, of a PDF
	if j.screenshot != nil {
		shown = j.screenshot.window
	}
	if p.window != shown {
		if err := shown.emulate(tab); err != nil {
			return err
		}
		p.window = shown
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

// signal tells whoever waits on c that something happened; once is enough.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
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

const (
	// livesTimeout bounds the question whether a page lives, to which one that is busy is slow
	// to answer.
	livesTimeout = 5 * time.Second
	// resetTimeout bounds what is done between two documents.
	resetTimeout = 5 * time.Second
	// disposeTimeout bounds the end of a page. It is long because it ends the browser: one
	// that does not answer at all is ended by its watch before.
	disposeTimeout = busyPatience
)

// reset takes the page back to an empty one, of which no script, timer, name or
// history of the last document is left. ctx must end with the page's life.
func (p *page) reset(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
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
		// A script could read in it what was answered to an earlier document.
		if p.owner.scripts {
			if err := (proto.NetworkClearBrowserCache{}).Call(tab); err != nil {
				return err
			}
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
	ctx, cancel := context.WithTimeout(p.browser.life, disposeTimeout)
	defer cancel()
	err := proto.TargetDisposeBrowserContext{BrowserContextID: p.context}.Call(session{connection: p.browser.connection, ctx: ctx})
	if errors.Is(err, context.DeadlineExceeded) {
		p.browser.kill()
	}
}
