package groupcache

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/lru"
)

// NowFunc is the clock by which values of the default instance expire. Set it before the first
// group is made, in tests.
var NowFunc lru.NowFunc = time.Now //nolint:gochecknoglobals // the original's

// standard is the default Instance.
var standard = sync.OnceValue(newStandard) //nolint:gochecknoglobals // the one default Instance

func newStandard() *Instance {
	o := Options{Logger: defaultLogger()}
	return must(newInstance(o.withDefaults(), func() time.Time { return NowFunc() }))
}

// must panics for what can only be a mistake in the program: the original's functions have no error
// to return.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Default is the Instance that the package-level functions work on, for its metrics and its
// DebugHandler.
func Default() *Instance { return standard() }

// NewGroup makes a group of the default instance. It panics if there is one of that name, or no
// getter, as the original does.
func NewGroup(name string, cacheBytes int64, getter Getter, opts ...GroupOption) *Group {
	return must(standard().NewGroup(name, max(cacheBytes, 0), getter, opts...))
}

// GetGroup is the group of a name in the default instance, nil if there is none.
func GetGroup(name string) *Group { return standard().Group(name) }

// GetGroups are all groups of the default instance.
func GetGroups() []*Group { return standard().Groups() }

// DeregisterGroup removes a group from the default instance.
func DeregisterGroup(name string) { standard().Deregister(name) }

// RegisterPeerPicker sets what makes the PeerPicker of the default instance's groups. It panics if
// one was registered before, as the original does.
func RegisterPeerPicker(fn func() PeerPicker) {
	once := sync.OnceValue(fn)
	standard().registerPicker(func(string) PeerPicker { return once() })
}

// RegisterPerGroupPeerPicker sets what makes the PeerPicker of each of the default instance's
// groups. It panics if one was registered before, as the original does.
func RegisterPerGroupPeerPicker(fn func(groupName string) PeerPicker) { standard().registerPicker(fn) }

// RegisterNewGroupHook sets a function that is called with each group made in the default instance
// from then on. It panics if one was set before, as the original does.
func RegisterNewGroupHook(fn func(*Group)) { standard().registerGroupHook(fn) }

// RegisterServerStart sets a function that is called when the first group of the default instance
// is made. It panics if one was set before, as the original does.
func RegisterServerStart(fn func()) { standard().registerServerStart(fn) }

// HTTPPoolOptions are the choices of an HTTPPool.
type HTTPPoolOptions struct {
	// BasePath is the path of requests from peers. Default "/_groupcache/".
	BasePath string
	// Replicas is how many points each peer has on the ring. Default 50.
	Replicas int
	// HashFn hashes keys and points. Default FNV-1 of 64 bits.
	HashFn consistenthash.Hash
	// Transport carries requests to peers. Default: one with 256 idle connections to each peer.
	Transport func(context.Context) http.RoundTripper
	// Context makes the context of a request from a peer. Default: the request's own.
	Context func(*http.Request) context.Context
	// ServerErrorHandler writes the answer to a peer whose request failed. Default
	// DefaultServerErrorHandler.
	ServerErrorHandler func(context.Context, http.ResponseWriter, *http.Request, error)

	// What follows the original does not have. Each is as in Options, and holds for all groups of
	// the default instance.

	// PeerTimeout bounds requests to peers of the original, which do not tell whether they are
	// loading or dead: set it above the time that their loads take. Default 1 s.
	PeerTimeout time.Duration
	// Silence is how long a peer of ours may give no sign of life. Default 30 ms.
	Silence time.Duration
	// MaxValueSize bounds values in bytes. Default 128 MiB.
	MaxValueSize int64
	// SetOwnerOnly makes Set tell only the owner. Default false.
	SetOwnerOnly bool
	// Frames says whether peers are asked by frames on one connection each. Default FramesAuto.
	Frames Frames
	// Auth says whether requests of peers are signed with Secret. Default AuthOff.
	Auth Auth
	// Secret is shared by all peers, at least 16 bytes. Default none.
	Secret []byte
}

// NewHTTPPool makes the pool of peers of the default instance, and registers it with
// http.DefaultServeMux. Self is this process's base URL, such as http://example.net:8000. It panics
// if a PeerPicker was registered before, as the original does.
func NewHTTPPool(self string) *HTTPPool {
	p := NewHTTPPoolOpts(self, nil)
	http.Handle(p.pool.Server.BasePath, p)
	return p
}

// NewHTTPPoolOpts is NewHTTPPool with options, of which nil means the defaults. The pool must be
// registered as a handler by its caller. It also panics if those that the original does not have
// are wrong, such as an Auth without a Secret.
func NewHTTPPoolOpts(self string, o *HTTPPoolOptions) *HTTPPool {
	opts := standard().options
	if o != nil {
		opts.BasePath, opts.Replicas, opts.HashFn = o.BasePath, o.Replicas, o.HashFn
		opts.Context, opts.ServerErrorHandler = o.Context, o.ServerErrorHandler
		if o.Transport != nil {
			opts.Transport = o.Transport
		}
		opts.PeerTimeout, opts.Silence, opts.MaxValueSize = o.PeerTimeout, o.Silence, o.MaxValueSize
		opts.SetOwnerOnly, opts.Frames, opts.Auth, opts.Secret = o.SetOwnerOnly, o.Frames, o.Auth, o.Secret
		added := Options{
			PeerTimeout: o.PeerTimeout, Silence: o.Silence, MaxValueSize: o.MaxValueSize, Frames: o.Frames, Auth: o.Auth, Secret: o.Secret,
		}
		if err := added.check(); err != nil {
			panic(err)
		}
	}
	opts = opts.withDefaults()
	p := &HTTPPool{must(standard().addPool(self, opts))}
	RegisterPeerPicker(func() PeerPicker { return p })
	standard().process.Limit(opts.limits())
	return p
}
