// Package groupcache is a cache that several processes of an application share: each key has an
// owner among them, which loads it once for all. It speaks the wire of
// github.com/mailgun/groupcache, of which it is a drop-in, and stays quick when peers die or hang.
//
// An Instance is this process among its peers:
//
//	cache, err := groupcache.New(groupcache.Options{Self: "http://10.0.0.1:8080"})
//	users, err := cache.NewGroup("users", 64<<20, groupcache.GetterFunc(
//		func(ctx context.Context, key string, dest groupcache.Sink) error {
//			b, err := loadFromDatabase(ctx, key)
//			if err != nil {
//				return err
//			}
//			return dest.SetBytes(b, time.Now().Add(time.Hour))
//		}))
//	http.Handle("/_groupcache/", cache.Handler())
//	err = cache.SetPeers("http://10.0.0.1:8080", "http://10.0.0.2:8080")
//	…
//	user, err := users.View(ctx, "42")
//
// The package-level functions, NewGroup and NewHTTPPool first of all, are the original's; they work
// on a default Instance.
//
// # What callers may rely on
//
// A Get that begins after a Set or Remove of its key has returned nil, at any peer, gets that
// value, the value of a later Set, or one that was loaded after the Set or Remove began. While a
// peer cannot be told, Set and Remove return an error that names it; it is told before this process
// asks it again, but meanwhile it may answer others with what it has.
//
// That holds, too, while peers that all have known leave and come back, and hear of it at different
// times. A peer that a writer does not know, because it is new or was away, cannot be told: it may
// answer with old values until the writer hears of it, and then drops them.
//
// # Several keys at once
//
// GetMulti asks each owner once. If the Getter is a BatchGetter, too, what misses is loaded with
// one call for many keys, here and at the owners.
//
// # When peers come and go
//
// For a minute after SetPeers has changed the owner of a key, a load first asks the former owners'
// caches. A process that is to end calls Drain, which hands over the keys that are read most,
// leaves the lists of the others, goes on answering for a few seconds, and then calls Close. So a
// rolling restart loads little besides new keys.
//
// # Failures
//
// An error of a Getter is returned as it is, or from another peer as a RemoteLoadError. A peer that
// is down or silent costs no error: the next peer on the ring loads in its place, or this process
// does.
//
// # On the wire
//
// Peers of this module ask each other by frames, on one connection each, which begins as a request
// at the base path. What hides or drops upgrades has them ask over HTTP, as peers of the originals
// are asked. Options.Frames turns that off.
package groupcache
