package chromium_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/integration/chromium"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBrowserRunsScriptsAndRecordsEveryRequest(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	// Nobody resolves names below .invalid; the request is recorded all the same.
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<title>waiting</title><img src="/missing.png"><script src="http://outside.invalid/x.js"></script>
<script>fetch("/data").then(r => r.text()).then(text => { document.title = text })</script>`)
	})
	mux.HandleFunc("GET /data", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fetched") })

	b := chromium.Start(t)
	if got := b.Requests(); len(got) > 0 {
		t.Errorf("requests before the first page: %v", got)
	}
	var title string
	if err := chromedp.Run(b.Context(), chromedp.Navigate(server.URL+"/page")); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); title != "fetched"; time.Sleep(10 * time.Millisecond) {
		if err := chromedp.Run(b.Context(), chromedp.Title(&title)); err != nil {
			t.Fatal(err)
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("the title is still %q", title)
		}
	}
	got := b.Requests()
	for _, want := range []string{server.URL + "/page", server.URL + "/missing.png", "http://outside.invalid/x.js", server.URL + "/data"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among the requests %v", want, got)
		}
	}
	for _, url := range got {
		if !strings.HasPrefix(url, server.URL) && url != "http://outside.invalid/x.js" {
			t.Errorf("the browser itself has asked for %s", url)
		}
	}
	b.ForgetRequests()
	if got := b.Requests(); len(got) > 0 {
		t.Errorf("forgotten, but still there: %v", got)
	}
}

func TestFindSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if path, err := chromium.Find(); err == nil {
		t.Errorf("found %s in an empty PATH", path)
	}
}
