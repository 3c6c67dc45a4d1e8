package renderer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"platen"
	"platen/egress"
)

// Options of a Renderer.
type Options struct {
	// Executable is the Chromium to run; "": what Find finds.
	Executable string
	// Proxy is the only way out of the pages. Required.
	Proxy *egress.Proxy
	// UID is the unprivileged user, and group, that Chromium runs as. Required as
	// root, since Chromium's sandbox refuses to run as root; ignored otherwise. The
	// user needs no entry in /etc/passwd.
	UID uint32
	// TempDir is where Chromium gets a folder of its own, which the user must be
	// able to reach; "": the system's folder for such.
	TempDir string
	// Memory is what all processes of the browser together may take, in bytes; 0: half of
	// what this machine has, or the container that this is in.
	Memory int64
	// Concurrency is how many pages render at once; 0: two per core.
	Concurrency int
	// MakeAhead keeps a page of each kind ready for the next account or address that needs one,
	// which takes longer to make than an invoice takes to print.
	MakeAhead bool
	// Log gets a line for each browser that starts or ends; nil: none.
	Log *slog.Logger
}

const (
	startTimeout = 20 * time.Second
	// takeTimeout bounds the waiting of one document for a page, which is a process of its
	// own.
	takeTimeout = 30 * time.Second
	// doubtTimeout is how long a browser may owe an answer and stand still when a document
	// has run out of time on it: otherwise the document is not at fault.
	doubtTimeout = time.Second
	// maxTimeouts in a row are a sign that something of the browser hangs which still
	// answers: it is replaced.
	maxTimeouts = 5
	// maxLost pages, at most, are tried for one document until one lives long enough to have
	// it. A browser that loses so many in a row as they are made is replaced.
	maxLost = 3
	// A page whose document took longer is not kept: it may hold much memory.
	maxKeptRender = 2 * time.Second
	// maxIdle idle pages are kept, each at about 25 MB.
	maxIdle     = 16
	maxIdleTime = time.Minute
	// maxSpareTime is how long a page that was made ahead is kept.
	maxSpareTime = time.Hour
	// blankAfter is when the document of an idle page is taken away: its animations
	// would go on using the processor.
	blankAfter = 2 * time.Second
	// A page and a browser are used this often, against what slowly grows in them.
	maxPageUses    = 500
	maxBrowserUses = 10_000
)

var errClosed = errors.New("the renderer is closed")

// Renderer makes PDFs and images. It is safe for concurrent use.
type Renderer struct {
	options Options
	turns   chan struct{}
	// browserUses is how many renders a browser is good for, and keptRender what a render
	// may take if its page is to be kept.
	browserUses int
	keptRender  time.Duration
	takeTimeout time.Duration
	// nowhere is the proxy of pages that have no network.
	nowhere *egress.Proxy
	// life ends with Close.
	life       context.Context
	end        context.CancelFunc
	background sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	current  *browser
	starting *start
	idle     []*page
	ahead    map[owner]bool // kinds of which a page is being made ahead
}

// start is a browser in the making, for whoever waits for it.
type start struct {
	done    chan struct{}
	browser *browser
	err     error
}

// New starts the browser. The error says what to do if it cannot start.
func New(o Options) (*Renderer, error) {
	if o.Proxy == nil {
		return nil, errors.New("renderer: Options.Proxy is required")
	}
	if os.Getuid() == 0 && o.UID == 0 {
		return nil, errors.New("renderer: Options.UID is required as root: Chromium runs as an unprivileged user, to keep its sandbox")
	}
	if o.Executable == "" {
		path, err := Find()
		if err != nil {
			return nil, err
		}
		o.Executable = path
	}
	if o.Concurrency == 0 {
		o.Concurrency = 2 * runtime.GOMAXPROCS(0)
	}
	if o.Memory == 0 {
		o.Memory = halfOfMemory()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	sweep(o.TempDir)
	r := &Renderer{options: o, turns: make(chan struct{}, o.Concurrency), ahead: map[owner]bool{}, browserUses: maxBrowserUses, keptRender: maxKeptRender, takeTimeout: takeTimeout}
	r.life, r.end = context.WithCancel(context.Background())
	var err error
	if r.nowhere, err = egress.NewProxy(egress.New(egress.Options{Closed: true}), o.Log); err != nil {
		return nil, err
	}
	if _, err := r.alive(r.life); err != nil {
		r.Close()
		return nil, err
	}
	r.background.Go(r.tend)
	return r, nil
}

// Page is a document to make.
type Page struct {
	// Account is whose document it is. Nothing of one account's pages is ever seen
	// by another's.
	Account string
	// HTML and CSS are the document. Addresses in them must be absolute.
	HTML, CSS string
	// URL is the http or https address of the document, in place of HTML and CSS. The
	// browser follows redirects, and the document is the page where it ends up. What
	// such a page itself lacks does not make the document fail: it is somebody else's.
	URL string
	// HeaderHTML and FooterHTML stand in the top and bottom margin of each page;
	// "": nothing. Elements of the classes pageNumber, totalPages, date and title are
	// filled in. They have no scripts, and images only as data: addresses.
	HeaderHTML, FooterHTML string
	Settings               platen.PageSettings
	// Title is the PDF's title if the HTML has none.
	Title string
	// Output is what to make; "": a PDF. An image has neither header nor footer, and
	// the settings of paper, pages, scale and printBackground do not apply to it.
	Output platen.OutputKind
	// Screenshot says how an image is made. It has to be valid; a PDF does without.
	Screenshot platen.Screenshot
	// Watermark is drawn large over an image, so that nothing in the page can remove
	// it; "": nothing. A PDF does not get it here.
	Watermark string
}

// Result is a document.
type Result struct {
	Content  []byte        // the file: a PDF, or an image of the kind that was asked for
	Duration time.Duration // without the waiting for one's turn
}

// Render makes the document of a page. It waits for its turn as long as ctx
// allows, and for a page of the browser; from then on the timeout of the page
// settings counts as well, for the watermark too. The error is a *platen.Failure,
// or ctx's if the caller gave up.
func (r *Renderer) Render(ctx context.Context, p Page) (*Result, error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.life.Done():
		return nil, failureOf(errClosed)
	}
	started := time.Now()
	j, err := r.job(p)
	if err != nil {
		return nil, err
	}
	file, loading, err := r.insist(ctx, p.Account, j)
	if err == nil && p.Watermark != "" && j.screenshot != nil {
		file, err = r.mark(ctx, p, j, file)
	}
	switch {
	case err == nil && len(file) > maxFile:
		return nil, failureOf(errReceivedTooLarge)
	case err == nil:
		return &Result{Content: file, Duration: time.Since(started)}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, timeoutFailure(p.Settings.Timeout, j, loading)
	}
	r.options.Log.Debug("render failed", "error", err)
	return nil, failureOf(err)
}

// job is what has to be done for a page.
func (r *Renderer) job(p Page) (*job, error) {
	j := &job{address: p.URL, media: mediaType(p.Settings.Media), wait: p.Settings.Waits(), proxy: r.options.Proxy,
		timeout: time.Duration(p.Settings.Timeout) * time.Second, offline: p.Settings.NoNetwork}
	if j.offline {
		j.proxy = r.nowhere
	}
	switch {
	case p.URL != "":
		if failure := checkAddress(p.URL); failure != nil {
			return nil, failure
		}
		j.markup = markup{scripts: !p.Settings.NoJavaScript, addresses: true, fonts: true}
	case len(p.HTML)+len(p.CSS) > maxSent:
		return nil, failureOf(errSentTooLarge)
	default:
		j.markup = newMarkup(p.HTML, p.CSS, p.Title, p.Settings)
	}
	if p.Output == "" || p.Output == platen.OutputPDF {
		var err error
		if j.print, err = printParameters(p); err != nil {
			return nil, renderFailure(platen.FailureRenderFailed, false, "The page cannot be printed: "+err.Error()+".", nil)
		}
		return j, nil
	}
	if errs := p.Screenshot.Validate(p.Output); len(errs) > 0 || captureFormats[p.Output] == "" {
		return nil, renderFailure(platen.FailureRenderFailed, false, fmt.Sprintf("The page cannot become such an image (%s). %v", p.Output, errs), nil)
	}
	j.screenshot = newScreenshot(p.Screenshot, p.Output)
	if p.Watermark != "" {
		j.screenshot.kind, j.screenshot.quality = platen.OutputPNG, 0 // lossless until it is marked
	}
	return j, nil
}

// mark draws the watermark over an image, on a page of ours and at the same size in
// pixels. It takes what is left of the document's time.
func (r *Renderer) mark(ctx context.Context, p Page, done *job, image []byte) ([]byte, error) {
	html, width, height, err := marked(image, p.Watermark)
	if err != nil {
		return nil, err
	}
	done.doing("drawing the watermark")
	j := &job{markup: markup{html: html}, media: done.media, proxy: done.proxy, offline: done.offline, deadline: done.deadline, taken: done.taken, screenshot: &screenshot{
		window: window{width: width, height: height, scale: 1, transparent: done.screenshot.transparent}, kind: p.Output, quality: p.Screenshot.Quality,
	}}
	file, _, err := r.insist(ctx, p.Account, j)
	return file, err
}

// insist renders, and once more if the browser dies under it. A page that ends before it has
// the document is replaced by another.
func (r *Renderer) insist(ctx context.Context, account string, j *job) (file []byte, loading []string, err error) {
	for range maxLost {
		file, loading, err = r.try(ctx, account, j)
		if !errors.Is(err, errPageLost) {
			break
		}
	}
	if !errors.Is(err, errBrowserGone) {
		return file, loading, err
	}
	file, loading, err = r.try(ctx, account, j)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%w, and left too little time", errBrowserGone)
	}
	return file, loading, err
}

// try renders once, on a page of the account. loading is what a document that
// failed was still waiting for.
func (r *Renderer) try(ctx context.Context, account string, j *job) (file []byte, loading []string, err error) {
	p, err := r.pageFor(ctx, owner{account: account, scripts: j.scripts, once: j.address != "", offline: j.offline, still: j.still && j.print != nil}, j)
	if err != nil {
		return nil, nil, err
	}
	// The document's time begins here: a browser that is slow to give a page is not
	// its fault. A second try gets what the first one left.
	began := time.Now()
	if j.deadline.IsZero() {
		j.deadline = began.Add(j.timeout)
	}
	timed, cancel := context.WithDeadline(ctx, j.deadline)
	defer cancel()
	file, err = p.render(timed, j)
	if err != nil {
		loading = p.assets.loading()
	}
	if j.address != "" {
		for _, one := range p.assets.which(func(one *asset) bool { return one.failed }) {
			r.options.Log.Debug("something of a page at an address did not load", "address", one.URL, "status", one.status, "error", one.Error)
		}
	}
	late := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
	if late && p.browser.hangs(doubtTimeout) {
		err = errBrowserMute
	}
	r.judge(p.browser, late)
	r.release(p, j, err == nil && time.Since(began) < r.keptRender)
	return file, loading, err
}

// pageFor takes a page for a job, within takeTimeout in all.
func (r *Renderer) pageFor(ctx context.Context, o owner, j *job) (*page, error) {
	began := time.Now()
	taking, cancel := context.WithTimeout(ctx, r.takeTimeout-j.taken)
	defer cancel()
	p, err := r.take(taking, o)
	j.taken += time.Since(began)
	if err != nil && taking.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: it gives no page within %v", errBrowserMute, r.takeTimeout)
	}
	return p, err
}

// judge replaces a browser on which too many documents in a row run out of time.
func (r *Renderer) judge(b *browser, late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !late {
		b.timeouts = 0
		return
	}
	if b.timeouts++; b.timeouts >= maxTimeouts {
		r.replace(b, "too many documents in a row ran out of time")
	}
}

// replace lets a browser end with its last page, and starts another. The lock must be
// held.
func (r *Renderer) replace(b *browser, why string) {
	if r.current != b || r.closed {
		return
	}
	r.options.Log.Warn("Chromium is replaced", "pid", b.command.Process.Pid, "reason", why)
	r.current = nil
	r.retire(b)
	r.renew()
}

// take finds an idle page of the owner, or one that was made ahead, or makes one.
func (r *Renderer) take(ctx context.Context, o owner) (*page, error) {
	began := time.Now()
	r.mu.Lock()
	r.renew()
	for _, wanted := range []owner{o, o.kind()} {
		for i := len(r.idle) - 1; i >= 0; i-- {
			if p := r.idle[i]; p.owner == wanted && p.life.Err() == nil {
				r.idle = append(r.idle[:i], r.idle[i+1:]...)
				p.browser.uses++
				p.owner, p.first = o, wanted != o
				r.mu.Unlock()
				return p, nil
			}
		}
	}
	r.mu.Unlock()
	b, err := r.alive(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	b.uses++
	b.live++
	r.mu.Unlock()
	p, err := newPage(ctx, b, o)
	r.mu.Lock()
	switch {
	case err == nil:
		b.lost, p.first = 0, true
		r.mu.Unlock()
		return p, nil
	case errors.Is(err, errPageLost):
		r.options.Log.Warn("a page was lost as it was made", "error", err)
		if b.lost++; b.lost >= maxLost {
			r.replace(b, "it loses its pages")
		}
	case errors.Is(err, context.DeadlineExceeded) && time.Since(began) > r.takeTimeout/2:
		r.replace(b, "it gives no page")
	}
	r.mu.Unlock()
	if p != nil {
		r.drop(p)
	} else {
		r.gone(b)
	}
	return nil, err
}

// release gives a page back. Only one that did well and left nothing to doubt is
// kept, and one whose document can act by itself is emptied first.
func (r *Renderer) release(p *page, j *job, well bool) {
	p.since = time.Now()
	if p.first {
		p.first = false
		r.makeAhead(p.owner.kind()) // now that nobody waits for this one
	}
	if !well || p.owner.once || p.doubt.Load() || p.uses >= maxPageUses {
		r.drop(p)
		return
	}
	if j.scripts || j.outlasts {
		r.inBackground(func() { r.clean(p) })
		return
	}
	r.keep(p)
}

// makeAhead makes a page for whoever will be the next to need one of this kind.
func (r *Renderer) makeAhead(kind owner) {
	if !r.options.MakeAhead || kind.offline {
		return
	}
	r.inBackground(func() {
		r.mu.Lock()
		b := r.current
		known := r.ahead[kind] || slices.ContainsFunc(r.idle, func(p *page) bool { return p.owner == kind })
		if known || b == nil || b.retired {
			r.mu.Unlock()
			return
		}
		r.ahead[kind] = true
		b.live++
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(r.life, r.takeTimeout)
		defer cancel()
		p, err := newPage(ctx, b, kind)
		r.mu.Lock()
		delete(r.ahead, kind)
		r.mu.Unlock()
		switch {
		case err == nil:
			p.since = time.Now()
			r.keep(p)
		case p != nil:
			r.drop(p)
		default:
			r.gone(b)
		}
	})
}

// clean empties a page and keeps it.
func (r *Renderer) clean(p *page) {
	if err := p.reset(p.life); err != nil {
		r.drop(p)
		return
	}
	r.keep(p)
}

// keep makes a page idle; the one that has been so the longest may have to go for it.
func (r *Renderer) keep(p *page) {
	var over *page
	r.mu.Lock()
	if p.browser.retired || r.closed {
		over = p
	} else {
		r.idle = append(r.idle, p)
		if len(r.idle) > maxIdle {
			over = slices.MinFunc(r.idle, func(x, y *page) int { return x.since.Compare(y.since) })
			r.idle = slices.DeleteFunc(r.idle, func(p *page) bool { return p == over })
		}
	}
	r.mu.Unlock()
	if over != nil {
		r.drop(over)
	}
}

// drop disposes of a page, behind the caller's back.
func (r *Renderer) drop(p *page) {
	r.inBackground(func() {
		p.dispose()
		r.gone(p.browser)
	})
}

// gone counts a page out of its browser, which ends with its last page if a
// newer browser has taken its place.
func (r *Renderer) gone(b *browser) {
	r.mu.Lock()
	b.live--
	last := b.retired && b.live == 0
	r.mu.Unlock()
	if last {
		b.kill()
	}
}

// inBackground runs f unless the renderer is closed, when the browser's end
// does all that is left to do.
func (r *Renderer) inBackground(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.background.Go(f)
	}
}

// tend looks after idle pages until the renderer is closed.
func (r *Renderer) tend() {
	tick := time.NewTicker(blankAfter / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.life.Done():
			return
		}
		var old, dirty, kept []*page
		r.mu.Lock()
		for _, p := range r.idle {
			switch idle := time.Since(p.since); {
			case idle > maxIdleTime && !p.owner.ahead || idle > maxSpareTime || p.life.Err() != nil:
				old = append(old, p)
			case idle > blankAfter && !p.blank:
				dirty = append(dirty, p)
			default:
				kept = append(kept, p)
			}
		}
		r.idle = kept
		r.mu.Unlock()
		for _, p := range old {
			r.drop(p)
		}
		for _, p := range dirty {
			r.inBackground(func() { r.clean(p) })
		}
	}
}

// alive is a browser that works.
func (r *Renderer) alive(ctx context.Context) (*browser, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, errClosed
	}
	r.renew()
	current, s := r.current, r.starting
	r.mu.Unlock()
	if current != nil && current.life.Err() == nil {
		return current, nil
	}
	select {
	case <-s.done:
		return s.browser, s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// renew begins to start a browser if there is none, or the present one has been
// used long enough. The lock must be held.
func (r *Renderer) renew() {
	needed := r.current == nil || r.current.life.Err() != nil || r.current.uses >= r.browserUses
	if needed && r.starting == nil && !r.closed {
		s := &start{done: make(chan struct{})}
		r.starting = s
		r.background.Go(func() { r.start(s) })
	}
}

// start starts a browser and lets it take the place of the present one.
func (r *Renderer) start(s *start) {
	defer close(s.done)
	ctx, cancel := context.WithTimeout(r.life, startTimeout)
	defer cancel()
	b, err := startBrowser(ctx, r.options, r.nowhere.URL())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting = nil
	if err != nil {
		s.err = err
		r.options.Log.Error("Chromium does not start", "error", err)
		return
	}
	r.options.Log.Info("Chromium started", "pid", b.command.Process.Pid)
	old := r.current
	s.browser, r.current = b, b
	r.background.Go(func() {
		select {
		case <-b.life.Done():
		case <-r.life.Done():
			b.kill()
		}
		<-b.exited
		if r.life.Err() == nil {
			r.options.Log.Warn("Chromium ended", "pid", b.command.Process.Pid, "stderr", b.stderr.String())
		}
	})
	if old != nil {
		r.retire(old)
	}
}

// retire lets a browser end with its last page. The lock must be held.
func (r *Renderer) retire(b *browser) {
	b.retired = true
	var kept []*page
	for _, p := range r.idle {
		if p.browser != b {
			kept = append(kept, p)
			continue
		}
		r.background.Go(func() {
			p.dispose()
			r.gone(b)
		})
	}
	r.idle = kept
	if b.live == 0 {
		b.kill()
	}
}

// Healthy tells whether the browser answers; it starts one if there is none.
func (r *Renderer) Healthy(ctx context.Context) error {
	b, err := r.alive(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx, b.life)
	defer cancel()
	if _, err := b.call(ctx, "", "Browser.getVersion", nil); err != nil {
		return fmt.Errorf("Chromium does not answer: %w", err)
	}
	return nil
}

// Close ends the browser at once, and renders with it. When it returns, no
// process and no file is left.
func (r *Renderer) Close() error {
	r.mu.Lock()
	r.closed = true
	r.idle = nil
	r.mu.Unlock()
	r.end()
	r.background.Wait()
	return r.nowhere.Close()
}
