package roles_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/roles"
)

// tell plays what servers say: "a=" and one of p (primary), r (replica), u (replica whose link is
// down), - (no answer), x (it is removed). After p and r there may be what it calls itself.
func tell(script string) (s *roles.Servers, promotions int) {
	s = &roles.Servers{}
	for _, addr := range []string{"a", "b", "c"} {
		s.Add(addr)
	}
	for word := range strings.FieldsSeq(script) {
		addr, what, _ := strings.Cut(word, "=")
		promoted := false
		switch what {
		case "-":
			s.Miss(addr)
		case "x":
			s.Remove(addr)
		default:
			promoted = s.Hear(addr, roles.Answer{Primary: what[0] == 'p', Linked: what[0] == 'r', ID: what[1:]})
		}
		if promoted {
			promotions++
		}
	}
	return s, promotions
}

func TestWhoIsThePrimary(t *testing.T) {
	for _, c := range []struct {
		story, script, want string
		epoch               int64
		promotions          int
	}{
		{"one says so", "a=p b=r c=r", "a", 1, 0},
		{"one has not been asked yet, and may say so, too", "a=p b=r", "", 0, 0},
		{"the others do not answer", "a=p b=- c=-", "a", 1, 0},
		{"a promotion, while the old one still says primary", "a=p b=r c=r b=p", "b", 2, 1},
		{"and stays, whatever the old one says", "a=p b=r c=r b=p a=p c=r a=p", "b", 2, 1},
		{"even if the new one is away for a moment", "a=p b=r c=r b=p a=p b=- a=p a=- a=p", "b", 2, 1},
		{"until it is told to replicate the old one", "a=p b=r c=r b=p a=p b=r a=p", "a", 3, 1},
		{"there and back", "a=p b=r c=r b=p a=r b=p a=p b=p b=r", "a", 3, 2},
		{"a crash, and a promotion", "a=p b=r c=r a=- b=p", "b", 2, 1},
		{"a crash, and a promotion that was not seen", "a=p b=r c=r a=- b=- b=p", "b", 2, 0},
		{"the crashed one comes back as a primary", "a=p b=r c=r a=- b=p a=p b=- a=p", "b", 2, 1},
		{"and may be promoted later", "a=p b=r c=r a=- b=p a=p b=- a=r a=p", "a", 3, 2},
		{"both crash, and the first comes back as the primary that it was", "a=p b=r c=r a=- b=p b=- a=p", "b", 2, 1},
		{"the first replicates the second, and takes over after a crash that was not seen", "a=p b=r c=r b=p a=p a=r a=- b=- a=p", "a", 3, 1},
		{"a replica comes back without its configuration, beside the primary", "a=p b=r c=r b=- b=p a=p a=- b=p", "a", 1, 0},
		{"a restart of the primary", "a=p b=r c=r a=- a=p", "a", 1, 0},
		{"two say so from the beginning", "a=p b=p c=r", "", 0, 0},
		{"until one replicates the other", "a=p b=p c=r a=r", "b", 1, 0},
		{"or is promoted", "a=p b=p c=r c=p", "c", 1, 1},
		{"the choice is taken off the list", "a=p b=r c=r b=- b=p a=x", "b", 2, 0},
		{"one primary at two addresses", "a=p1 b=p1 c=r2", "a", 1, 0},
		{"it is restarted", "a=p1 b=p1 c=r2 b=- b=p3 a=- a=p3 b=p3 c=r2", "a", 1, 0},
		{"and then is reached by the other way alone", "a=p1 b=p1 c=r2 b=- b=p3 a=- a=p3 b=p3 a=- b=p3", "b", 2, 0},
		{"one replica at two addresses is promoted once", "a=p1 b=r2 c=r2 b=p2 c=p2 a=r1", "b", 2, 1},
		{"also if the address that does not count tells first", "a=p1 b=r2 c=r2 c=p2 b=p2 b=p2 a=r1", "c", 2, 1},
		{"two servers that call themselves the same", "a=p0 b=r0 c=r0 c=p0 a=r0 c=p0", "c", 2, 0},
		{"a doubt is about all addresses of a server", "a=p1 b=r2 c=r2 b=- c=- b=p2 a=p1 c=p2 a=- b=- c=p2", "a", 1, 0},
		{"two take over at once while the choice is away", "a=p b=r c=r a=- b=- c=- b=p c=p", "b", 2, 0},
	} {
		s, promotions := tell(c.script)
		v, err := s.Verdict()
		if v.Addr != c.want || v.Epoch != c.epoch || (err == nil) != (c.want != "") {
			t.Errorf("%s (%s): %+v, %v; want %q at %d", c.story, c.script, v, err, c.want, c.epoch)
		}
		if promotions != c.promotions {
			t.Errorf("%s (%s): %d promotions, want %d", c.story, c.script, promotions, c.promotions)
		}
	}
}

func TestWhyThereIsNone(t *testing.T) {
	s, _ := tell("a=p b=p c=r")
	if _, err := s.Verdict(); !errors.Is(err, roles.ErrSeveral) || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("%v, want ErrSeveral, and both", err)
	}
	s, _ = tell("a=r b=r c=-")
	if _, err := s.Verdict(); !errors.Is(err, roles.ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
	if s, _ = tell("a=- b=-"); s.Answers() {
		t.Error("nobody answers")
	}
}

func TestAReplicaIsListedOnce(t *testing.T) {
	s, _ := tell("a=p1 b=r2 c=r2")
	if v, err := s.Verdict(); err != nil || len(v.Replicas) != 1 || v.Replicas[0].Addr != "b" {
		t.Errorf("%+v, %v; want b alone as a replica: c leads there, too", v, err)
	}
}

func TestReplicasAreListed(t *testing.T) {
	s, _ := tell("a=p b=r c=u")
	v, err := s.Verdict()
	if err != nil || len(v.Replicas) != 2 || !v.Replicas[0].Usable || v.Replicas[1].Usable || v.Replicas[1].Lost {
		t.Errorf("%+v, %v", v, err)
	}
	if s.Add("d"); !s.Settled() {
		t.Error("a server that was added holds the verdict up")
	}
	s.Miss("b")
	if v, _ = s.Verdict(); v.Replicas[0].Usable || !v.Replicas[0].Lost {
		t.Errorf("%+v after b was lost", v)
	}
}
