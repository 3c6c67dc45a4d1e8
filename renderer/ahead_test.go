package renderer

import (
	"net/http"
	"testing"
)

func TestAPageIsMadeAheadForTheNextAccountThatNeedsOne(t *testing.T) {
	t.Parallel()
	r := own(t, Options{MakeAhead: true})
	one := func(account, html string) *page {
		t.Helper()
		p := document(t, html)
		p.Account = account
		renderOn(t, r, p)
		return waitIdle(t, r, account)
	}
	one("a", "<p>one")
	spare := waitIdle(t, r, "")
	if spare.uses != 0 || !spare.owner.still || spare.owner.scripts {
		t.Errorf("%+v", spare.owner)
	}
	if got := one("b", "<p>two"); got != spare || got.uses != 1 {
		t.Errorf("the second account has not got it: %+v", got.owner)
	}
	if next := waitIdle(t, r, ""); next == spare {
		t.Error("there is no other for a third")
	}
	one("b", "<p>three") // on its own page
	if n := len(idlePages(r, "")); n != 1 {
		t.Errorf("%d pages are made ahead", n)
	}
	// With scripts it is another kind.
	if got := one("c", "<script>1</script>"); !got.owner.scripts {
		t.Errorf("%+v", got.owner)
	}
	for _, p := range waitIdles(t, r, "", 2) {
		if p.uses != 0 {
			t.Errorf("a page that was made ahead has been used: %+v", p.owner)
		}
	}
}

func TestAPageIsMadeAheadForTheNextAddressAndServesOnce(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<p id=p>before<script>p.textContent=localStorage.x||'nothing';localStorage.x=1</script>"))
	})
	r := own(t, Options{MakeAhead: true})
	var spares []*page
	for range 3 {
		p := document(t, "")
		p.URL = s.URL
		if got := text(t, renderOn(t, r, p)); got != "nothing\n\n\f" && got != "nothing\n\f" {
			t.Errorf("%q", got)
		}
		spare := waitIdle(t, r, "")
		for _, before := range spares {
			if spare == before {
				t.Error("a page has served twice")
			}
		}
		spares = append(spares, spare)
	}
}
