package renderer

import (
	"html"
	"regexp"
	"slices"
	"strings"

	"platen"

	nethtml "golang.org/x/net/html"
)

// The scans read the raw text and see more than a parser would: what they find
// too much costs time, what they miss would be missing from the document. They
// are searches for plain words because regular expressions take longer over a
// large document than Chromium takes to load it.
var (
	scriptWords = []string{
		"<script", "javascript:", "<iframe", "<frame", "<object", "<embed", "<portal", "<fencedframe",
		"<noscript", // what it holds shows only where scripts are off
	}
	// An address can be spelled with character references and CSS escapes.
	addressWords = []string{"//", "http", "file:", "ftp:", "blob:", "&#", "&sol;", "&colon;", "&newline;", "&tab;", `\`}
	// What changes with time, from frame to frame, what has content of its own to draw, and what may bring such from elsewhere.
	movingWords = []string{"animat", "transition", "keyframes", "<set", "<marquee", "<video", "<audio", "<canvas", "content-visibility", "<link", "@import"}
	endStyle    = regexp.MustCompile(`(?i)</(style)`)
)

// autoPage keeps an @page size in the CSS from counting.
const autoPage = "@page{size:auto!important}"

// markup is a whole document, and what is known about it before it is loaded.
type markup struct {
	html      string
	scripts   bool // it may hold a script
	addresses bool // it may load something from an address
	fonts     bool // it may have fonts to wait for
	images    bool // it may have images
	still     bool // it is the same in each frame, so that it can be printed without any
	outlasts  bool // without a script, it may move itself to another address, or leave its colours to the next document
}

// newMarkup puts the style sheet, and a title if there is none, at the end of
// the document's head, and applies what the page settings say of scripts and of
// the size of @page.
func newMarkup(source, css, title string, settings platen.PageSettings) markup {
	source = strings.TrimPrefix(source, "\ufeff")
	lower, lowerCSS := asciiLower(source), asciiLower(css)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool {
			return strings.Contains(lower, word) || strings.Contains(lowerCSS, word)
		})
	}
	var insert strings.Builder
	if title != "" && !strings.Contains(lower, "<title") {
		insert.WriteString("<title>" + html.EscapeString(title) + "</title>")
	}
	if css != "" {
		insert.WriteString("<style>\n" + endStyle.ReplaceAllString(css, `<\/$1`) + "\n</style>")
	}
	if has("@page") && !settings.PreferCSSPageSize {
		// Chromium turns the paper as @page says, even where that may not set its size.
		insert.WriteString("<style>" + autoPage + "</style>")
	}
	m := markup{html: source, outlasts: has("http-equiv", "color-scheme")}
	// An expression to wait for is a script as well, and may do what scripts do.
	m.scripts = has(scriptWords...) || hasEvent(lower) || hasEvent(lowerCSS) || settings.Waits().Expression != ""
	if insert.Len() > 0 {
		at := endOfHead(source)
		m.html = source[:at] + insert.String() + source[at:]
	}
	m.addresses = m.scripts || has(addressWords...)
	m.fonts = m.addresses || has("@font-face")
	m.images = m.scripts || has("<im") // <img>, and <image>, which is another word for it
	m.still = !m.scripts && !has(movingWords...)
	m.scripts = m.scripts && !settings.NoJavaScript
	return m
}

// hasEvent tells whether there may be an event attribute, such as onload="".
func hasEvent(lower string) bool {
	for {
		at := strings.Index(lower, "on")
		if at < 0 {
			return false
		}
		begins := at == 0 || !isWord(lower[at-1])
		lower = lower[at+2:]
		if !begins {
			continue
		}
		name := 0
		for name < len(lower) && isWord(lower[name]) {
			name++
		}
		if name > 0 && strings.HasPrefix(strings.TrimLeft(lower[name:], " \t\r\n\f"), "=") {
			return true
		}
	}
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_'
}

// asciiLower is what HTML means by lower case.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// endOfHead is the offset at which the head of a document ends, whether its tags
// are written or implied. It is never before a doctype: text there would put
// Chromium into quirks mode.
func endOfHead(source string) int {
	tokens := nethtml.NewTokenizer(strings.NewReader(source))
	var at, end int
	// inside is the element of the head that is not closed yet.
	for inside := ""; ; {
		kind := tokens.Next()
		start := at
		at += len(tokens.Raw())
		if kind == nethtml.ErrorToken {
			return end
		}
		name, _ := tokens.TagName()
		tag := string(name)
		switch {
		case inside != "":
			if kind == nethtml.EndTagToken && tag == inside {
				inside, end = "", at
			}
		case kind == nethtml.EndTagToken && tag == "head":
			return start
		case kind == nethtml.DoctypeToken:
			end = at
		case kind == nethtml.CommentToken:
		case kind == nethtml.TextToken:
			if strings.TrimSpace(source[start:at]) != "" {
				return end
			}
		case kind == nethtml.StartTagToken || kind == nethtml.SelfClosingTagToken:
			switch tag {
			case "html", "head", "meta", "link", "base", "basefont", "bgsound":
				end = at
			case "title", "style", "script", "noscript", "template":
				inside = tag
			default:
				return end
			}
		}
	}
}
