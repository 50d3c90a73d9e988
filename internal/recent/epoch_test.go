package recent

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestEpochsCompareAsExactDecimals(t *testing.T) {
	ordered := []string{"0", "0.00001", "9", "9.5", "10", "1223270911", "1223270911.76639", "1223270911.766390086", "1223270911.7663900860000000001",
		"1223270911.76640", "1223270912", "10000000000.1"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := epoch(a).Compare(epoch(b)), min(max(i-j, -1), 1); got != want {
				t.Errorf("%s and %s compare as %d, expected %d", a, b, got, want)
			}
		}
		if (Epoch{}).Compare(epoch(a)) != -1 || epoch(a).Compare(Epoch{}) != 1 {
			t.Errorf("the zero Epoch is not before %s", a)
		}
	}
	// One decimal more than a float64 can tell apart.
	a, b := epoch("1760978849.04324123"), epoch("1760978849.04324124")
	if a.Compare(b) != -1 || a == b {
		t.Errorf("%s is not before %s", a, b)
	}
}

func TestEqualEpochsHaveOneForm(t *testing.T) {
	for s, want := range map[string]string{"5.10": "5.1", "5.0": "5", "5": "5", "1760978848.12000": "1760978848.12", "0.0": "0"} {
		if got := epoch(s); got.String() != want || got != epoch(want) {
			t.Errorf("%s became %s, expected %s", s, got, want)
		}
	}
}

func TestWhatIsNoEpochIsRefused(t *testing.T) {
	for _, s := range []string{"", ".", "5.", ".5", "-5", "+5", "05", "1e9", "1_000", " 5", "5 ", "5.5.5", "0x5", "NaN", "1234567890123", "٣"} {
		if e, err := ParseEpoch(s); err == nil {
			t.Errorf("%q became %s", s, e)
		}
	}
}

func TestEpochsSurviveJSON(t *testing.T) {
	list := []Epoch{{}, epoch("1223270911.766390086")}
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var back []Epoch
	if err := json.Unmarshal(b, &back); err != nil || !slices.Equal(back, list) {
		t.Errorf("%s became %v, %v", b, back, err)
	}
	if err := json.Unmarshal([]byte(`["1e9"]`), &back); err == nil {
		t.Error("an epoch that is none was read")
	}
}

func TestMinus(t *testing.T) {
	for _, tt := range []struct {
		from    string
		seconds int64
		want    string
	}{{"1223270911.76639", 3600, "1223267311.76639"}, {"3600", 3600, "0"}, {"3599.9", 3600, ""}, {"1223270911", endless, ""}, {"10.5", 1, "9.5"}} {
		if got := epoch(tt.from).minus(tt.seconds); got.String() != tt.want {
			t.Errorf("%s minus %d is %q, expected %q", tt.from, tt.seconds, got, tt.want)
		}
	}
}
