package lua

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// head is what a script's head says of its slots.
type head struct {
	name              string
	body              string // the code behind the head, comments left out
	keys, args        slots
	returns, errors   string
	purpose           string
	includes          []string
	duplicatedOrOther []string
}

// slots are the named KEYS or ARGV of a script: fixed ones first, then those
// that come once per operation (frame, stream). tail: the last of a group takes
// all that is left of the operation, whose first slot is its width.
type slots struct {
	fixed, group []string
	tail         bool
}

var heads = func() map[string]*head {
	all := make(map[string]*head)
	files, err := sources.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".lua"); ok {
			all[name] = parseHead(name, mustRead(f.Name()))
		}
	}
	return all
}()

var (
	slotLine  = regexp.MustCompile(`^--   (\d+) (\w+)(  .*)?$`)
	groupLine = regexp.MustCompile(`^--   (?:per [a-z]+, )?[ka] \+$`)
)

func parseHead(name, text string) *head {
	h := &head{name: name, includes: includes(text)}
	section, to, group := "", (*slots)(nil), false
	var body strings.Builder
	inHead := true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "--#include") {
			inHead = false
			continue
		}
		if !inHead {
			if !strings.HasPrefix(strings.TrimSpace(line), "--") {
				body.WriteString(line + "\n")
			}
			continue
		}
		switch line {
		case "-- KEYS", "-- ARGV", "-- RETURNS", "-- ERRORS":
			section, group = line[3:], false
			to = map[string]*slots{"KEYS": &h.keys, "ARGV": &h.args}[section]
			continue
		}
		said := strings.TrimSpace(strings.TrimPrefix(line, "--"))
		switch {
		case section == "":
			h.purpose += said + " "
		case section == "RETURNS":
			h.returns += said + " "
		case section == "ERRORS":
			h.errors += said + " "
		case groupLine.MatchString(line):
			group = true
		default:
			m := slotLine.FindStringSubmatch(line)
			if m == nil {
				h.duplicatedOrOther = append(h.duplicatedOrOther, line)
				continue
			}
			list := &to.fixed
			if group {
				list = &to.group
			}
			*list = append(*list, m[2])
			if m[1] != strconv.Itoa(len(*list)) {
				h.duplicatedOrOther = append(h.duplicatedOrOther, "out of order: "+line)
			}
			if strings.HasSuffix(line, "to the end") || strings.Contains(line, ", to the end;") {
				to.tail = true
			}
		}
	}
	h.body = body.String()
	return h
}

// layoutProblem holds one call on the wire, evalsha SHA N KEYS... ARGV..., against
// the head of its script; empty when they agree.
func layoutProblem(call []any) string {
	var s *script
	for _, one := range []*script{enqueueScript, adoptScript, readScript, entriesScript, pieceScript, claimScript, advanceScript, heartbeatScript, putbackScript,
		retryScript, promoteScript, pullScript, finishScript, tickScript, forgetScript, frameScript, followScript, cancelScript, reviveScript, purgeScript, trimScript, announceScript,
		repairScript, strayScript, recountScript, retireScript, probeScript, presenceScript, boardScript,
		outcomeScript, admitScript, holdScript, countScript, spentScript, lostScript, operateScript, sessionScript, lockScript, renewScript, unlockScript, guardedScript, observeScript, unlistScript} {
		if one.sha == call[1] {
			s = one
		}
	}
	if s == nil {
		return fmt.Sprintf("a script of unknown hash %v was run", call[1])
	}
	h := heads[s.name]
	number := func(v any) int { n, _ := strconv.Atoi(fmt.Sprint(v)); return n }
	numKeys := number(call[2])
	args := call[3+numKeys:]
	n := 0
	if i := slices.Index(h.args.fixed, "n"); i >= 0 && i < len(args) {
		n = number(args[i])
	}
	if want := len(h.keys.fixed) + n*len(h.keys.group); numKeys != want {
		return fmt.Sprintf("%s: %d keys were passed for n = %d, the head says %d", s.name, numKeys, n, want)
	}
	left := len(args) - len(h.args.fixed)
	if h.args.tail {
		for range n {
			at := len(args) - left
			width := 0
			if at < len(args) {
				width = number(args[at])
			}
			if width < len(h.args.group)-1 {
				return fmt.Sprintf("%s: an operation is %d slots wide, the head says at least %d", s.name, width, len(h.args.group)-1)
			}
			left -= width
		}
	} else {
		left -= n * len(h.args.group)
	}
	if left != 0 {
		return fmt.Sprintf("%s: %d arguments were passed for n = %d, %d more than the head says", s.name, len(args), n, left)
	}
	for _, key := range call[3 : 3+numKeys] {
		if fmt.Sprint(key) == "" {
			return s.name + ": an empty key was passed"
		}
	}
	return ""
}

// TestHead_DeclaresEverySection holds each head against the house's form.
func TestHead_DeclaresEverySection(t *testing.T) {
	if len(heads) < 13 {
		t.Fatalf("%d scripts", len(heads))
	}
	for name, h := range heads {
		t.Run(name, func(t *testing.T) {
			text := mustRead(name + ".lua")
			if !strings.HasPrefix(text, "-- "+name+" ") {
				t.Errorf("the purpose does not begin with the script's name")
			}
			at := 0
			for _, section := range []string{"-- KEYS\n", "-- ARGV\n", "-- RETURNS\n", "-- ERRORS\n", "--#include"} {
				if strings.Count(text, section) != 1 {
					t.Errorf("%q is there %d times", section, strings.Count(text, section))
				}
				if i := strings.Index(text, section); i < at {
					t.Errorf("%q is missing or out of order", section)
				} else {
					at = i
				}
			}
			if h.returns == "" || h.errors == "" || len(h.purpose) < 40 {
				t.Errorf("purpose %q, RETURNS %q, ERRORS %q", h.purpose, h.returns, h.errors)
			}
			for _, line := range h.duplicatedOrOther {
				t.Errorf("not a slot: %s", line)
			}
			if len(h.keys.fixed)+len(h.keys.group) == 0 || len(h.args.group) > 0 && !slices.Contains(h.args.fixed, "n") {
				t.Errorf("keys %v, args %v", h.keys, h.args)
			}
			if h.args.tail != (len(h.args.group) > 0 && h.args.group[0] == "width") {
				t.Errorf("a tail needs a width, and a width a tail")
			}
		})
	}
}

var (
	slotRead  = regexp.MustCompile(`\b(KEYS|ARGV)\[([ka] \+ )?(\d+)\]`)
	tailRead  = regexp.MustCompile(`unpack\(ARGV, a \+ (\d+), a \+ width\)`)
	anySlot   = regexp.MustCompile(`\b(?:KEYS|ARGV)\b`)
	assign    = regexp.MustCompile(`(\w+) = `)
	groupBase = regexp.MustCompile(`local ([ka]) = (?:(\d+) \+ )?(?:\(i - 1\) \* (\d+)|i - 1)\n`)
	eachCall  = regexp.MustCompile(`each\(n, (\d+), (\d+), (\d+), (\d+), one\)`)
)

// elsewhere are reads that have no name of their own, with the reason.
var elsewhere = map[string]string{
	// The first and the last entry of the batch, for one XPENDING over all.
	"claim": "XPENDING', stream, group, ARGV[9], ARGV[9 + 3 * (n - 1)], n, owner",
	// The width again, where the include steps from one operation to the next.
}

// TestHead_SlotsAgreeWithTheCode holds the slots that each head names against
// those that the code reads: the same numbers under the same names, and no
// other read of KEYS or ARGV.
func TestHead_SlotsAgreeWithTheCode(t *testing.T) {
	for name, h := range heads {
		t.Run(name, func(t *testing.T) {
			code := h.body
			if extra := elsewhere[name]; extra != "" {
				if !strings.Contains(code, extra) {
					t.Errorf("the exception %q is not in the code any more", extra)
				}
				code = strings.Replace(code, extra, "", 1)
			}
			read := make(map[string][]string) // "KEYS 1", "ARGV a + 3": the names it is read by
			for _, m := range slotRead.FindAllStringSubmatchIndex(code, -1) {
				slot := code[m[2]:m[3]] + " "
				if m[4] >= 0 {
					slot += code[m[4]:m[5]]
				}
				slot += code[m[6]:m[7]]
				line := code[strings.LastIndexByte(code[:m[0]], '\n')+1 : m[0]]
				read[slot] = append(read[slot], lastName(line))
			}
			for _, m := range tailRead.FindAllStringSubmatchIndex(code, -1) {
				slot := "ARGV a + " + code[m[2]:m[3]]
				before := code[:m[0]]
				read[slot] = append(read[slot], lastName(before[:strings.LastIndex(before, " = {")+3]))
			}
			if all, known := len(anySlot.FindAllString(code, -1)), len(slotRead.FindAllString(code, -1))+len(tailRead.FindAllString(code, -1)); all != known {
				t.Errorf("%d of %d reads of KEYS and ARGV have no slot", all-known, all)
			}
			hold := func(array, base string, names []string) {
				for i, slot := range names {
					key := fmt.Sprintf("%s %s%d", array, base, i+1)
					if got := read[key]; len(got) != 1 || got[0] != slot {
						t.Errorf("the head calls %s %q, the code reads it as %q", key, slot, got)
					}
					delete(read, key)
				}
			}
			hold("KEYS", "", h.keys.fixed)
			hold("KEYS", "k + ", h.keys.group)
			hold("ARGV", "", h.args.fixed)
			hold("ARGV", "a + ", h.args.group)
			for key, names := range read {
				t.Errorf("%s is read as %q and not in the head", key, names)
			}
		})
	}
}

// lastName is the name that a line assigns to last.
func lastName(line string) string {
	all := assign.FindAllStringSubmatch(line, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

// TestHead_GroupsBeginBehindTheFixedSlots holds the offsets with which a script
// steps through its operations against the head.
func TestHead_GroupsBeginBehindTheFixedSlots(t *testing.T) {
	for name, h := range heads {
		t.Run(name, func(t *testing.T) {
			if m := eachCall.FindStringSubmatch(h.body); m != nil {
				width := len(h.args.group)
				if h.args.tail {
					width = 0
				}
				want := fmt.Sprint([]int{len(h.keys.fixed), len(h.keys.group), len(h.args.fixed), width})
				if got := fmt.Sprint(m[1:]); got != want {
					t.Errorf("each steps by %s, the head says %s", got, want)
				}
				return
			}
			bases := groupBase.FindAllStringSubmatch(h.body, -1)
			seen := ""
			for _, m := range bases {
				s := h.keys
				if m[1] == "a" {
					s = h.args
				}
				step := 1
				if m[3] != "" {
					step = seqNumber(m[3])
				}
				if seqNumber(m[2]) != len(s.fixed) || step != len(s.group) {
					t.Errorf("%s: the head says %d fixed, %d per operation", strings.TrimSpace(m[0]), len(s.fixed), len(s.group))
				}
				seen += m[1]
			}
			want := ""
			if len(h.keys.group) > 0 {
				want = "k"
			}
			if len(h.args.group) > 0 {
				want += "a"
			}
			for _, letter := range want {
				if !strings.ContainsRune(seen, letter) {
					t.Errorf("the head has a group %c, and the code no base for it", letter)
				}
			}
		})
	}
}

var (
	defines = regexp.MustCompile(`(?m)^local (?:function )?(\w+)`)
)

// TestInclude_NamedIsUsedAndUsedIsNamed holds the #include line of each script
// against what it and its includes use, in the order of definition.
func TestInclude_NamedIsUsedAndUsedIsNamed(t *testing.T) {
	files, err := sources.ReadDir("include")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string][]string) // include: what it defines
	texts := make(map[string]string)
	for _, f := range files {
		include := strings.TrimSuffix(f.Name(), ".lua")
		var b strings.Builder
		strip(&b, mustRead("include/"+f.Name()))
		texts[include] = b.String()
		for _, m := range defines.FindAllStringSubmatch(mustRead("include/"+f.Name()), -1) {
			names[include] = append(names[include], m[1])
		}
		if !strings.HasPrefix(mustRead("include/"+f.Name()), "--") {
			t.Errorf("include %s says nothing of itself", include)
		}
	}
	used := make(map[string]bool)
	for name, h := range heads {
		t.Run(name, func(t *testing.T) {
			needed := make(map[string]bool)
			var need func(text string, except string)
			need = func(text, except string) {
				for include, defined := range names {
					if include == except || needed[include] {
						continue
					}
					if slices.ContainsFunc(defined, func(n string) bool { return uses(text, n) }) {
						needed[include] = true
						need(texts[include], include)
					}
				}
			}
			need(h.body, "")
			for i, include := range h.includes {
				used[include] = true
				if !needed[include] {
					t.Errorf("includes %s and uses nothing of it", include)
				}
				delete(needed, include)
				for other, defined := range names {
					if other == include || slices.Contains(h.includes[:i], other) {
						continue
					}
					for _, n := range defined {
						if uses(texts[include], n) {
							t.Errorf("%s uses %s, which %s defines behind it or nobody", include, n, other)
						}
					}
				}
			}
			for include := range needed {
				t.Errorf("uses %v of %s without including it", names[include], include)
			}
		})
	}
	for include := range names {
		if !used[include] {
			t.Errorf("nobody includes %s", include)
		}
	}
}

// uses reports whether code mentions a name that it does not define itself, as
// a word of its own and not as a field.
func uses(code, name string) bool {
	if regexp.MustCompile(`local (?:function )?` + name + `\b|local \w+(?:, \w+)*, ` + name + `\b`).MatchString(code) {
		return false
	}
	call := `\(`
	if strings.ToUpper(name) == name {
		call = `\[`
	}
	return regexp.MustCompile(`(?m)(?:^|[^.\w'])` + name + call).MatchString(code)
}

// TestScript_TextIsSmallAndConstant: what travels on a cold cache holds no
// comment, and errors are constant words (no text of a user gets into one).
func TestScript_TextIsSmallAndConstant(t *testing.T) {
	for name := range heads {
		s := load(name)
		if strings.Contains(s.text, "\n--") || strings.Contains(s.text, "\n ") {
			t.Errorf("%s travels with comments or indentation", name)
		}
		for _, banned := range []string{"cmsgpack", "error_reply", "loadstring", "KEYS *", "SCAN", "math.random", "#!lua"} {
			if strings.Contains(s.text, banned) {
				t.Errorf("%s uses %s", name, banned)
			}
		}
	}
}
