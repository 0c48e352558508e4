package groupcache_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// newUsers makes a group whose Getter says what it loads.
func newUsers(opts ...groupcache.GroupOption) (users *groupcache.Group, done func()) {
	cache, err := groupcache.New(groupcache.Options{})
	if err != nil {
		panic(err)
	}
	users, err = cache.NewGroup("users", 64<<20, groupcache.GetterFunc(
		func(_ context.Context, key string, dest groupcache.Sink) error {
			fmt.Println("loaded", key)
			return dest.SetString("user "+key, time.Time{})
		}), opts...)
	if err != nil {
		panic(err)
	}
	return users, func() { _ = cache.Close() }
}

// Several keys are found with one request to each owner.
func ExampleGroup_GetMulti() {
	users, done := newUsers()
	defer done()
	_, _ = users.View(context.Background(), "1")
	found, err := users.GetMulti(context.Background(), []string{"1", "2", "1"})
	fmt.Println(len(found), found["1"], found["2"], err)
	// Output:
	// loaded 1
	// loaded 2
	// 2 user 1 user 2 <nil>
}

// A program that writes to the source tells the caches: of the new value, or that the old one is
// out of date.
func ExampleGroup_Set() {
	users, done := newUsers()
	defer done()
	ctx := context.Background()
	_, _ = users.View(ctx, "1")
	err := users.Set(ctx, "1", []byte("Ada"), time.Now().Add(time.Hour), false)
	user, _ := users.View(ctx, "1")
	fmt.Println(user, err)
	err = users.Remove(ctx, "1")
	user, _ = users.View(ctx, "1")
	fmt.Println(user, err)
	// Output:
	// loaded 1
	// Ada <nil>
	// loaded 1
	// user 1 <nil>
}

// All keys of one tenant are dropped at all peers. The Removal says which of them have done it.
func ExampleGroup_RemovePrefix() {
	users, done := newUsers()
	defer done()
	ctx := context.Background()
	_, _ = users.GetMulti(ctx, []string{"acme/1"})
	_, _ = users.GetMulti(ctx, []string{"other/1"})
	removal, err := users.RemovePrefix(ctx, "acme/")
	fmt.Println(removal.Missed, removal.Unable, err)
	found, _ := users.GetMulti(ctx, []string{"acme/1", "other/1"})
	fmt.Println(len(found))
	// Output:
	// loaded acme/1
	// loaded other/1
	// [] [] <nil>
	// loaded acme/1
	// 2
}

// A process keeps its most read values for the one that takes its place: in a file, as a rule. With
// peers, Load belongs after SetPeers.
func ExampleGroup_Save() {
	users, done := newUsers()
	_, _ = users.View(context.Background(), "1")
	var file bytes.Buffer
	saved, err := users.Save(&file)
	fmt.Println(saved, err)
	done()

	users, done = newUsers()
	defer done()
	loaded, err := users.Load(context.Background(), &file)
	fmt.Println(loaded, err)
	user, err := users.View(context.Background(), "1")
	fmt.Println(user, err)
	// Output:
	// loaded 1
	// 1 <nil>
	// 1 <nil>
	// user 1 <nil>
}

// Values that the Getter gives no expiry live for ten minutes, less up to a tenth, so that they do
// not all expire at once.
func ExampleWithTTL() {
	users, done := newUsers(groupcache.WithTTL(10*time.Minute, 0.1))
	defer done()
	user, err := users.View(context.Background(), "1")
	left := time.Until(user.Expire())
	fmt.Println(left > 8*time.Minute, left <= 10*time.Minute, err)
	// Output:
	// loaded 1
	// true true <nil>
}

// A group whose values are of a type of the program's.
func ExampleTyped() {
	type user struct{ Name string }
	cache, err := groupcache.New(groupcache.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = cache.Close() }()
	group, err := cache.NewGroup("users", 64<<20, groupcache.TypedGetter(nil,
		func(_ context.Context, key string) (user, time.Time, error) {
			return user{Name: "Ada " + key}, time.Now().Add(time.Hour), nil
		}))
	if err != nil {
		panic(err)
	}
	users := groupcache.NewTyped[user](group, nil)
	ada, err := users.Get(context.Background(), "42")
	fmt.Println(ada.Name, err)
	// Output: Ada 42 <nil>
}
