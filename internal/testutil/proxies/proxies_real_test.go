package proxies_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/proxies"
)

// Requests reach the server through each kind, not while the proxy is killed, and again after its
// restart.
func TestKinds(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(web.Close)
	addr := web.Listener.Addr().String()
	http1 := "GET / HTTP/1.0\r\n\r\n"
	for name, k := range map[string]struct {
		kind          proxies.Kind
		request, last string
	}{
		"twemproxy":      {proxies.Twemproxy(5*time.Second, testutil.StartMemcached(t).Addr()), "get none\r\n", "END\r\n"},
		"haproxy (tcp)":  {proxies.Haproxy("tcp", addr), http1, "hello"},
		"haproxy (http)": {proxies.Haproxy("http", addr), http1, "hello"},
		"nginx":          {proxies.Nginx(addr, ""), http1, "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := proxies.Start(t, k.kind)
			for range 2 {
				if err := ask(p.Addr(), k.request, k.last); err != nil {
					t.Error(err)
				}
				p.Kill()
				if err := ask(p.Addr(), k.request, k.last); err == nil {
					t.Error("a killed proxy answers")
				}
				p.Restart()
			}
		})
	}
}

// ask sends a request on a connection of its own and reads an answer until its last words.
func ask(addr, request, last string) error {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	answer := ""
	for r := bufio.NewReader(conn); len(answer) < len(last) || answer[len(answer)-len(last):] != last; {
		b, err := r.ReadByte()
		if err != nil {
			return fmt.Errorf("%q, then %w", answer, err)
		}
		answer += string(b)
	}
	return nil
}
