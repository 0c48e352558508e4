// Package member is the program of one of the processes that share a cache in the drill: cachedrill
// itself, started with an argument of its own.
package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"
)

// argument makes this program a member; its configuration follows.
const argument = "run-as-member-of-a-drill"

// The paths of a member. All but StatePath take the parameter "key".
const (
	GetPath    = "/get"    // with the value, or the error in words
	RemovePath = "/remove" // with nothing, or the error in words
	HerdPath   = "/herd"   // with a Herd in JSON; the parameter "n" is the number of callers
	StatePath  = "/state"  // with a State in JSON
)

const (
	// Replicas is how many points a member has on the ring.
	Replicas = 50

	databaseConnections = 64
	peerConnections     = 256
	peersPath           = "/_groupcache/"
	orphanCheck         = time.Second
)

// errAnswer is the other end's own error, as against one on the way there.
var errAnswer = errors.New("answered with an error")

// Config is passed to a member when it is started. All fields must be set, but Plain.
type Config struct {
	Plain    bool     // whether it is one of the plain side
	Number   int      // from 1 on, among its peers
	Self     string   // its base URL
	URLs     []string // of all members of its side
	Database string   // URL, to which a key is added
	Timeout  time.Duration
	Room     int // values that its main cache has room for
	ItemSize int // bytes of a key and a value
	Parent   int // the process that has started it, and without which it ends
}

// Hot returns how many values of other owners there is room for.
func (c Config) Hot() int { return c.Room / 7 }

// Args returns the arguments that make this program a member.
func (c Config) Args() ([]string, error) {
	text, err := json.Marshal(c)
	return []string{argument, string(text)}, err
}

// Is reports whether the arguments, without the program's name, are those of a member.
func Is(args []string) bool { return len(args) == 2 && args[0] == argument }

// State says of each other member, by its URL, whether this one asks it.
type State map[string]bool

// cache is implemented by the members of both sides.
type cache interface {
	get(ctx context.Context, key string) (string, error)
	remove(ctx context.Context, key string) error
	state() State
	// serve adds what peers ask for, and what people want to know.
	serve(mux *http.ServeMux)
	// join tells the cache of its peers, once it can answer them.
	join() error
}

// Run is the program of a member. It returns only if it cannot go on, and is ended by signals.
func Run(args []string) error {
	var c Config
	if err := json.Unmarshal([]byte(args[1]), &c); err != nil {
		return err
	}
	self, err := url.Parse(c.Self)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", self.Host)
	if err != nil {
		return err
	}
	signal.Ignore(os.Interrupt) // Ctrl-C at a terminal reaches all processes; the one whose drill it is kills this one in time
	go leaveWith(c.Parent)
	return c.serve(listener)
}

// leaveWith ends this process when its parent has ended. Linux sees to that at once, other systems
// do not.
func leaveWith(parent int) {
	for range time.Tick(orphanCheck) {
		if os.Getppid() != parent {
			os.Exit(1)
		}
	}
}

func (c Config) serve(listener net.Listener) error {
	m, err := c.cache()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	m.serve(mux)
	mount(mux, m, c.Timeout)
	ended := make(chan error, 1)
	go func() { ended <- (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(listener) }()
	return errors.Join(m.join(), <-ended)
}

func (c Config) cache() (cache, error) {
	if c.Plain {
		return newPlain(c), nil
	}
	return newHoldfast(c)
}

// mount adds the paths of the drill. No caller waits longer than the timeout.
func mount(mux *http.ServeMux, m cache, timeout time.Duration) {
	mux.HandleFunc(GetPath, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		v, err := m.get(ctx, r.FormValue("key"))
		reply(w, v, err)
	})
	mux.HandleFunc(RemovePath, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		reply(w, "", m.remove(ctx, r.FormValue("key")))
	})
	mux.HandleFunc(HerdPath, func(w http.ResponseWriter, r *http.Request) { serveHerd(w, r, m, timeout) })
	mux.HandleFunc(StatePath, func(w http.ResponseWriter, _ *http.Request) { replyJSON(w, m.state()) })
}

func reply(w http.ResponseWriter, text string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.WriteString(w, text) // the caller has gone
}

func replyJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	reply(w, string(text), err)
}

// newClient returns a client that keeps connections.
func newClient(idle int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: idle, DisableCompression: true}}
}

// request asks a URL with the parameter "key". An error of the other end wraps errAnswer.
func request(ctx context.Context, client *http.Client, method, address, key string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, address+"?key="+url.QueryEscape(key), nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s: %s", errAnswer, response.Status, strings.TrimSpace(string(body)))
	}
	return string(body), err
}

// loader asks the database, which the drill simulates.
type loader struct {
	client *http.Client
	url    string
}

func newLoader(c Config) loader { return loader{newClient(databaseConnections), c.Database} }

func (l loader) load(ctx context.Context, key string) (string, error) {
	return request(ctx, l.client, http.MethodGet, l.url, key)
}
