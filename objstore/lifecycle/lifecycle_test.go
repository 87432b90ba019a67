package lifecycle

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

func at(s string) objstore.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return objstore.TimeOf(t)
}

func rules(t *testing.T, rules ...string) []Rule {
	t.Helper()
	list, err := Parse([]byte("<LifecycleConfiguration><Rule>" + strings.Join(rules, "</Rule><Rule>") + "</Rule></LifecycleConfiguration>"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

const on = "<Status>Enabled</Status>"

func TestRulesAreParsed(t *testing.T) {
	got := rules(t,
		"<ID>one</ID><Prefix>a/</Prefix>"+on+"<Expiration><Days>3</Days></Expiration>",
		"<ID>off</ID><Prefix></Prefix><Status>Disabled</Status><Expiration><Days>3</Days></Expiration>",
		"<ID>two</ID><Filter><And><Prefix>b</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key><Value></Value></Tag><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan><ObjectSizeLessThan>10</ObjectSizeLessThan></And></Filter>"+on+
			"<Expiration><Date>2030-01-02T00:00:00Z</Date></Expiration><NoncurrentVersionExpiration><NoncurrentDays>4</NoncurrentDays><NewerNoncurrentVersions>5</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
		"<ID>three</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>"+on+"<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>6</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
		"<ID>four</ID><Filter></Filter>"+on+"<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>",
	)
	want := []Rule{
		{ID: "one", Prefix: "a/", Larger: -1, Smaller: -1, Days: 3},
		{ID: "two", Prefix: "b", Tags: []objstore.Tag{{Key: "k", Value: "v"}, {Key: "l"}}, Larger: 0, Smaller: 10, Date: at("2030-01-02T00:00:00Z"), Noncurrent: true, After: 4, Keep: 5},
		{ID: "three", Tags: []objstore.Tag{{Key: "k", Value: "v"}}, Larger: -1, Smaller: -1, Markers: true, Abort: 6},
		{ID: "four", Larger: -1, Smaller: -1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	for _, bad := range []string{"", "<x/>", "<LifecycleConfiguration><Rule>", "<LifecycleConfiguration><Rule>" + on + "<Expiration><Days>x</Days></Expiration></Rule></LifecycleConfiguration>",
		"<LifecycleConfiguration><Rule>" + on + "<Expiration><Date>x</Date></Expiration></Rule></LifecycleConfiguration>"} {
		if list, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, list)
		}
	}
}

func TestDaysEndAtMidnight(t *testing.T) {
	for _, c := range []struct {
		made string
		days int
		want string
	}{
		{"2014-01-15T10:30:00Z", 3, "2014-01-19T00:00:00Z"}, // AWS's own example
		{"2014-01-15T00:00:00Z", 3, "2014-01-18T00:00:00Z"},
		{"2014-01-15T00:00:01Z", 3, "2014-01-19T00:00:00Z"},
		{"2014-01-14T23:59:59Z", 1, "2014-01-16T00:00:00Z"},
		{"2016-02-28T12:00:00Z", 1, "2016-03-01T00:00:00Z"},
		{"2016-02-28T12:00:00Z", 1<<31 - 1, "2262-04-11T00:00:00Z"}, // the end of time
		{"2016-02-28T12:00:00Z", 89923, "2262-04-11T00:00:00Z"},
		{"2262-04-11T12:00:00Z", 1, "2262-04-11T00:00:00Z"},
	} {
		if got := due(at(c.made), c.days); got != at(c.want) {
			t.Errorf("%+v: %s", c, got.Std())
		}
	}
	for _, s := range []string{"1960-05-05T01:02:03Z", "1970-01-01T00:00:00Z", "2026-11-21T23:59:59Z"} {
		m := Midnight(at(s))
		if got := m.Std(); got.Format("2006-01-02T15:04:05") != s[:10]+"T00:00:00" {
			t.Errorf("midnight of %s: %s", s, got)
		}
	}
}

func TestDates(t *testing.T) {
	for s, want := range map[string]string{
		"2017-09-27": "2017-09-27T00:00:00Z", "2017-09-27T00:00:00Z": "2017-09-27T00:00:00Z", "2017-09-27T00:00:00.000Z": "2017-09-27T00:00:00Z",
		"2017-09-27T02:00:00+02:00": "2017-09-27T00:00:00Z", "2017-09-27T01:00:00": "2017-09-27T01:00:00Z", "2017-09-27Z": "2017-09-27T00:00:00Z",
		"9999-01-01": "2262-04-11T00:00:00Z", "0001-01-01": "1970-01-02T00:00:00Z", "1970-01-01": "1970-01-02T00:00:00Z",
	} {
		if got, err := ParseDate(s); err != nil || got != at(want) {
			t.Errorf("%s: %s %v", s, got.Std(), err)
		}
	}
	for _, s := range []string{"", "x", "20170927", "2017-13-01", "2017-09-27T25:00:00Z"} {
		if got, err := ParseDate(s); err == nil {
			t.Errorf("%s: %s", s, got.Std())
		}
	}
}

func TestFilters(t *testing.T) {
	tag := []objstore.Tag{{Key: "k", Value: "v"}}
	both := append([]objstore.Tag{{Key: "l", Value: "w"}}, tag...)
	any := Rule{Larger: -1, Smaller: -1}
	with := func(change func(*Rule)) Rule { r := any; change(&r); return r }
	for i, c := range []struct {
		r    Rule
		o    Object
		want bool
	}{
		{any, Object{Key: "k"}, true},
		{with(func(r *Rule) { r.Prefix = "a/" }), Object{Key: "a/b"}, true},
		{with(func(r *Rule) { r.Prefix = "a/" }), Object{Key: "a"}, false},
		{with(func(r *Rule) { r.Larger = 10 }), Object{Size: 10}, false},
		{with(func(r *Rule) { r.Larger = 10 }), Object{Size: 11}, true},
		{with(func(r *Rule) { r.Larger = 0 }), Object{Size: 0}, false},
		{with(func(r *Rule) { r.Smaller = 10 }), Object{Size: 10}, false},
		{with(func(r *Rule) { r.Smaller = 10 }), Object{Size: 9}, true},
		{with(func(r *Rule) { r.Tags = tag }), Object{}, false},
		{with(func(r *Rule) { r.Tags = tag }), Object{Tags: both}, true},
		{with(func(r *Rule) { r.Tags = both }), Object{Tags: tag}, false},
		{with(func(r *Rule) { r.Tags = tag }), Object{Tags: []objstore.Tag{{Key: "k", Value: "other"}}}, false},
		{with(func(r *Rule) { r.Prefix, r.Tags, r.Larger = "a", tag, 1 }), Object{Key: "ab", Tags: tag, Size: 2}, true},
		{with(func(r *Rule) { r.Prefix, r.Tags, r.Larger = "a", tag, 1 }), Object{Key: "b", Tags: tag, Size: 2}, false},
	} {
		if got := c.r.matches(&c.o); got != c.want {
			t.Errorf("%d: %+v %+v: %v", i, c.r, c.o, got)
		}
	}
}

func TestFirstRuleToExpireCounts(t *testing.T) {
	list := rules(t,
		"<ID>late</ID><Prefix></Prefix>"+on+"<Expiration><Days>7</Days></Expiration>",
		"<ID>early</ID><Prefix>a</Prefix>"+on+"<Expiration><Days>2</Days></Expiration>",
		"<ID>same</ID><Prefix>a</Prefix>"+on+"<Expiration><Days>2</Days></Expiration>",
		"<ID>past</ID><Prefix>ab</Prefix>"+on+"<Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>",
		"<ID>marker</ID><Prefix>ab</Prefix>"+on+"<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
	)
	made := at("2026-01-01T12:00:00Z")
	for key, want := range map[string][2]string{
		"x": {"late", "2026-01-09T00:00:00Z"}, "a": {"early", "2026-01-04T00:00:00Z"}, "abc": {"past", "2020-01-01T00:00:00Z"},
	} {
		r, when := Expiration(list, &Object{Key: key, Since: made})
		if r == nil || r.ID != want[0] || when != at(want[1]) {
			t.Errorf("%s: %+v %s", key, r, when.Std())
		}
	}
	if r, _ := Expiration(list[4:], &Object{Key: "abc", Since: made}); r != nil {
		t.Errorf("a rule for markers: %+v", r)
	}
}

func TestVersionsMarkersAndUploads(t *testing.T) {
	old, now := at("2026-01-01T12:00:00Z"), at("2026-01-05T00:00:00Z")
	r := Rule{Larger: -1, Smaller: -1, Noncurrent: true, After: 3, Keep: 2}
	for _, c := range []struct {
		newer int
		now   objstore.Time
		want  bool
	}{{0, now, false}, {1, now, false}, {2, now, true}, {3, now, true}, {2, now - 1, false}} {
		if got := NoncurrentGoes([]Rule{{Larger: -1, Smaller: -1}, r}, &Object{}, old, c.newer, c.now); got != c.want {
			t.Errorf("noncurrent %+v: %v", c, got)
		}
	}
	all := Rule{Larger: -1, Smaller: -1, Noncurrent: true, After: 3}
	if !all.noncurrentGoes(&Object{}, old, 0, now) || all.noncurrentGoes(&Object{}, old, 9, now-1) {
		t.Error("noncurrent by days alone")
	}
	if none := (&Rule{Larger: -1, Smaller: -1}); none.noncurrentGoes(&Object{}, old, 9, now) {
		t.Error("noncurrent without a rule")
	}

	marker := Object{Key: "a", Since: old}
	for i, c := range []struct {
		r    Rule
		now  objstore.Time
		want bool
	}{
		{Rule{Larger: -1, Smaller: -1, Markers: true}, old, true},
		{Rule{Larger: -1, Smaller: -1, Markers: true, Prefix: "b"}, now, false},
		{Rule{Larger: -1, Smaller: -1, Days: 3}, now, true},
		{Rule{Larger: -1, Smaller: -1, Days: 3}, now - 1, false},
		{Rule{Larger: -1, Smaller: -1, Days: 3, Tags: []objstore.Tag{{Key: "k"}}}, now, false},
		{Rule{Larger: 5, Smaller: -1, Days: 3}, now, false},
		{Rule{Larger: -1, Smaller: -1, Noncurrent: true, After: 1}, now, false},
	} {
		if got := MarkerGoes([]Rule{{Larger: -1, Smaller: -1}, c.r}, &marker, c.now); got != c.want {
			t.Errorf("marker %d: %v", i, got)
		}
	}

	up := Rule{Larger: -1, Smaller: -1, Prefix: "a", Abort: 3}
	if r, at := Abortion([]Rule{up}, "ab", old); r == nil || at != now {
		t.Errorf("%+v %s", r, at.Std())
	}
	if r, _ := Abortion([]Rule{up}, "b", old); r != nil {
		t.Errorf("%+v", r)
	}
	sooner := Rule{ID: "sooner", Larger: -1, Smaller: -1, Prefix: "ab", Abort: 1}
	if r, at := Abortion([]Rule{up, sooner, up}, "abc", old); r == nil || r.ID != "sooner" || at != now-2*day {
		t.Errorf("%+v %s", r, at.Std())
	}
	if r, _ := Abortion([]Rule{sooner, all}, "c", old); r != nil {
		t.Errorf("%+v", r)
	}
	up.Tags = []objstore.Tag{{Key: "k"}}
	if r, _ := Abortion([]Rule{up}, "ab", old); r != nil {
		t.Error("an upload by a rule with tags")
	}
}

func TestPrefixesHoldEachOther(t *testing.T) {
	list := []Rule{{Prefix: "b/c"}, {Prefix: "a"}, {Prefix: "b"}, {Prefix: "ab"}, {Prefix: "a"}, {Prefix: "c", Abort: 1}}
	if got := Prefixes(list, func(r *Rule) bool { return r.Abort == 0 }); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
	if got := Prefixes(append(list, Rule{}), func(*Rule) bool { return true }); !reflect.DeepEqual(got, []string{""}) {
		t.Errorf("%q", got)
	}
	if got := Prefixes(nil, func(*Rule) bool { return true }); got != nil {
		t.Errorf("%q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("<LifecycleConfiguration><Rule><ID>x</ID>" + on + "<Filter><And><Prefix>p</Prefix><Tag><Key>k</Key></Tag></And></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>")
	f.Fuzz(func(t *testing.T, doc string) {
		list, err := Parse([]byte(doc))
		if err != nil {
			return
		}
		Expiration(list, &Object{Key: "k", Tags: []objstore.Tag{{Key: "k"}}})
		Prefixes(list, func(*Rule) bool { return true })
	})
}
