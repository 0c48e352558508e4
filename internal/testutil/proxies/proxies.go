// Package proxies runs real proxies before servers: twemproxy, haproxy and nginx. Each is a process
// of its own at 127.0.0.1, which can be killed and started again.
//
// It is for tests only, and uses nothing but the standard library.
package proxies

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

const (
	startTimeout = 20 * time.Second
	pollInterval = 5 * time.Millisecond
)

// Kind is a program with a configuration. It has no useful zero value; Twemproxy, Haproxy and Nginx
// return one.
type Kind struct {
	program string
	// arguments are those of a proxy at addr, whose files are in folder; file has the text.
	arguments func(folder, file string) ([]string, error)
	text      func(addr, folder string) string
}

// Twemproxy distributes keys over memcached servers. One that does not answer for as long as
// patience is an error for its keys.
func Twemproxy(patience time.Duration, servers ...string) Kind {
	return Kind{
		program: "nutcracker",
		arguments: func(folder, file string) ([]string, error) {
			stats, err := testutil.FreePort() // it has to have one
			return []string{"-c", file, "-a", "127.0.0.1", "-s", fmt.Sprint(stats), "-o", filepath.Join(folder, "log")}, err
		},
		text: func(addr, _ string) string {
			text := fmt.Sprintf("pool:\n  listen: %s\n  hash: md5\n  distribution: modula\n  auto_eject_hosts: false\n  timeout: %d\n  servers:\n",
				addr, patience.Milliseconds())
			for _, s := range servers {
				text += fmt.Sprintf("   - %s:1\n", s)
			}
			return text
		},
	}
}

// Haproxy hands on connections in mode tcp, or requests in mode http, to one server.
func Haproxy(mode, server string) Kind {
	return Kind{
		program:   "haproxy",
		arguments: func(_, file string) ([]string, error) { return []string{"-db", "-f", file}, nil },
		text: func(addr, _ string) string {
			return fmt.Sprintf("defaults\n mode %s\n timeout connect 5s\n timeout client 30s\n timeout server 30s\nlisten all\n bind %s\n server one %s\n",
				mode, addr, server)
		},
	}
}

// Nginx hands on HTTP requests to one server. The directives in more, which may be "", are those of
// its location.
func Nginx(server, more string) Kind {
	return Kind{
		program:   "nginx",
		arguments: func(folder, file string) ([]string, error) { return []string{"-p", folder, "-c", file}, nil },
		text: func(addr, folder string) string {
			return fmt.Sprintf(`master_process off; daemon off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 512; }
http { access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi; server { listen %[2]s; location / { proxy_pass http://%[3]s; %[4]s } } }
`, folder, addr, server, more)
		},
	}
}

// Proxy is a process of a Kind. It has no useful zero value; Start makes one. It is for one
// goroutine.
type Proxy struct {
	tb   testutil.TB
	path string
	addr string
	args []string
	run  *host.Run
}

// Start runs a proxy for one test, and ends it when the test ends. It returns once connections are
// accepted. A missing program skips the test, or fails it if HOLDFAST_REQUIRE_SERVERS is 1.
func Start(tb testutil.TB, k Kind) *Proxy {
	tb.Helper()
	p := &Proxy{tb: tb}
	var err error
	if p.path, err = exec.LookPath(k.program); err != nil { // Debian has them where only root looks
		if p.path, err = exec.LookPath(filepath.Join("/usr/sbin", k.program)); err != nil {
			testutil.Missing(tb, k.program, err)
			return p
		}
	}
	folder, err := os.MkdirTemp("", "holdfast-proxy")
	if err != nil {
		tb.Fatalf("%s: %v", k.program, err)
		return p
	}
	tb.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := p.configure(k, folder); err != nil {
		tb.Fatalf("%s: %v", k.program, err)
		return p
	}
	p.Restart()
	tb.Cleanup(p.Kill)
	return p
}

func (p *Proxy) configure(k Kind, folder string) error {
	port, err := testutil.FreePort()
	if err != nil {
		return err
	}
	p.addr = host.Loopback(port)
	file := filepath.Join(folder, "config")
	if p.args, err = k.arguments(folder, file); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(k.text(p.addr, folder)), 0o600)
}

// Addr returns the host:port where clients reach it. It stays the same for life.
func (p *Proxy) Addr() string { return p.addr }

// Kill ends the process at once. Killing a killed one does nothing.
func (p *Proxy) Kill() {
	if p.run != nil {
		_ = p.run.Kill() // it has ended either way
	}
}

// Restart kills the process if it runs and starts it again at the same address.
func (p *Proxy) Restart() {
	p.tb.Helper()
	p.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	if p.run, err = host.Start(ctx, p.path, p.args); err != nil {
		p.tb.Fatalf("%s: %v", p.path, err)
		return
	}
	for ; ; time.Sleep(pollInterval) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		if ctx.Err() != nil || p.run.Ended() {
			p.tb.Fatalf("%s does not accept connections: %v: %s", p.path, err, p.run.Stderr())
			return
		}
	}
}
