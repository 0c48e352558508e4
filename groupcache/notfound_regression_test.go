package groupcache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// noUser is an error of a user's that says by errors.Is that it is an ErrNotFound.
type noUser struct{}

// Error implements error.
func (noUser) Error() string { return "no such user" }

// Is is for errors.Is.
func (noUser) Is(target error) bool {
	_, ok := target.(*groupcache.ErrNotFound)
	return ok
}

// An error that is ErrNotFound by errors.Is was one only if it wrapped that of this package.
func TestAnErrorOfAUsersMayBeAnErrNotFound(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 2, nil, groupcache.WithNegativeTTL(time.Hour))
		c.source.answer = func(context.Context, string) (string, error) { return "", noUser{} }
		asker, owner := c.nodes[0], c.nodes[1]
		for _, key := range []string{c.ownedBy(t, owner), c.ownedBy(t, asker)} {
			for range 2 {
				if _, err := get(t.Context(), asker.group, key); !errors.Is(err, &groupcache.ErrNotFound{}) || err.Error() != "no such user" {
					t.Errorf("%v", err)
				}
			}
			if got, err := asker.group.GetMulti(t.Context(), []string{key, c.ownedBy(t, owner, "another")}); len(got) > 0 || err != nil {
				t.Errorf("GetMulti: %v, %v", got, err)
			}
		}
		if n := c.source.loads.Load(); n != 3 {
			t.Errorf("%d loads of three keys: that they are not there is not kept", n)
		}
	})
}
