/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The expression language by a table: an expression, and an expression that it equals, or the error
 * it gives when it is compiled ("compile: ...") or evaluated ("error: ...").
 */
#include <coracle/cel.h>
#include <coracle/schema.h>
#include <setjmp.h>
#include <cmocka.h>

struct row {
	const char *expression, *want;
};

static const struct row rows[] = {
	/* literals */
	{"1", "1"},
	{"0x1F", "31"},
	{"-0x1F", "-31"},
	{"-9223372036854775808", "-9223372036854775807 - 1"},
	{"9223372036854775808", "compile: ERROR: <input>:1:1: invalid int literal"},
	{"18446744073709551615u", "18446744073709551615u"},
	{"1.5e3", "1500.0"},
	{"'a' 'b'", "compile: mismatched input ''b'' expecting <EOF>"},
	{"\"a\\u00e9\\x41\\101\\n\"", "'a\xc3\xa9"
				      "AA\\n'"},
	{"r'a\\n'", "'a\\\\n'"},
	{"'''a'b\n'''", "\"a'b\\n\""},
	{"b'\\xff'.size()", "1"},
	{"'\\q'", "compile: Syntax error: token recognition error at: '\\q'"},
	{"'abc", "compile: Syntax error: token recognition error at: ''abc'"},
	{"[1, 2, 3]", "[1, 2, 3]"},
	{"[1, 'a']", "compile: expected type 'int' but found 'string'"},
	{"{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"},
	{"{'a': 1}['a']", "1"},
	{"{1: 'x'}[1]", "'x'"},
	{"{'a': 1, 'b': 'x'}", "compile: expected type 'int' but found 'string'"},
	{"// comment\n1", "1"},
	{"", "compile: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {'['"},
	{"1 +", "compile: mismatched input '<EOF>' expecting"},
	{"(1", "compile: mismatched input '<EOF>' expecting ')'"},
	{"if", "compile: reserved identifier: if"},
	{"a.b{c: 1}", "compile: undeclared reference to 'a.b' (in container '')"},
	{"1 $ 2", "compile: token recognition error at: '$'"},
	/* arithmetic */
	{"1 + 2 * 3", "7"},
	{"(1 + 2) * 3", "9"},
	{"7 / 2", "3"},
	{"-7 / 2", "-3"},
	{"-7 % 3", "-1"},
	{"7u / 2u", "3u"},
	{"7.0 / 2.0", "3.5"},
	{"1.0 / 0.0 > 1e300", "true"},
	{"1 / 0", "error: division by zero"},
	{"1 % 0", "error: modulus by zero"},
	{"1u % 0u", "error: modulus by zero"},
	{"9223372036854775807 + 1", "error: integer overflow"},
	{"-9223372036854775808 - 1", "error: integer overflow"},
	{"9223372036854775807 * 2", "error: integer overflow"},
	{"-(-9223372036854775808)", "error: integer overflow"},
	{"-9223372036854775808 / -1", "error: integer overflow"},
	{"0u - 1u", "error: unsigned integer overflow"},
	{"18446744073709551615u + 1u", "error: unsigned integer overflow"},
	{"1 + 1.0", "compile: found no matching overload for '_+_' applied to '(int, double)'"},
	{"-'a'", "compile: found no matching overload for '-_' applied to '(string)'"},
	{"--1", "1"},
	{"!true", "false"},
	{"!!true", "true"},
	{"'a' + 'b'", "'ab'"},
	{"b'a' + b'b'", "b'ab'"},
	{"[1] + [2]", "[1, 2]"},
	{"[1] + ['a']", "compile: found no matching overload for '_+_' applied to '(list(int), "
			"list(string))'"},
	{"dyn(1) + dyn('a')", "error: no such overload"},
	/* comparison */
	{"1 < 2", "true"},
	{"1 < 2.5", "true"},
	{"1u >= 1", "true"},
	{"-1 < 1u", "true"},
	{"'a' < 'b'", "true"},
	{"b'a' >= b'b'", "false"},
	{"false < true", "true"},
	{"[1] < [2]", "compile: found no matching overload for '_<_' applied to '(list(int), "
		      "list(int))'"},
	{"1 == 1", "true"},
	{"1 == 1.0", "compile: found no matching overload for '_==_' applied to '(int, double)'"},
	{"dyn(1) == dyn(1.0)", "true"},
	{"dyn(1) == dyn(1u)", "true"},
	{"dyn(1) == dyn('1')", "false"},
	{"[1, 2] == [1, 2]", "true"},
	{"[1, 2] != [2, 1]", "true"},
	{"null == null", "true"},
	{"self.none == null", "true"},
	{"1 in [1, 2]", "true"},
	{"3 in [1, 2]", "false"},
	{"'a' in {'a': 1}", "true"},
	{"'x' in self", "false"},
	{"'text' in self", "true"},
	{"1 in 'a'", "compile: found no matching overload for '@in' applied to '(int, string)'"},
	{"1 < 2 && 2 < 3", "true"},
	{"1 == 1 == true", "true"},
	/* logic */
	{"true && false", "false"},
	{"true || false", "true"},
	{"false && 1 / 0 == 1", "false"},
	{"1 / 0 == 1 && false", "false"},
	{"true || 1 / 0 == 1", "true"},
	{"1 / 0 == 1 || true", "true"},
	{"1 / 0 == 1 || false", "error: division by zero"},
	{"true && false || true", "true"},
	{"true ? 1 : 2", "1"},
	{"false ? 1 : true ? 2 : 3", "2"},
	{"true ? 1 : 'a'", "compile: found no matching overload for '_?_:_' applied to '(bool, "
			   "int, string)'"},
	{"1 && true", "compile: found no matching overload for '_&&_' applied to '(int, bool)'"},
	{"dyn(1) && true", "error: no such overload"},
	/* names and members */
	{"foo", "compile: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | "
		"foo\n | ^"},
	{"1 + foo", "compile: ERROR: <input>:1:5: undeclared reference to 'foo' (in container "
		    "'')\n | 1 + foo\n | ....^"},
	{"foo(1)", "compile: undeclared reference to 'foo' (in container '')"},
	{"1.foo()", "compile: "},
	{"'a'.foo()", "compile: undeclared reference to 'foo' (in container '')"},
	{"self.text", "'Hello'"},
	{"self['text']", "'Hello'"},
	{"self.none2", "error: no such key: none2"},
	{"self.list[0]", "3"},
	{"self.list[5]", "error: index out of bounds: 5"},
	{"self.list[-1]", "error: index out of bounds: -1"},
	{"self.map.a", "1"},
	{"self.`text`", "'Hello'"},
	{"'a'.b", "compile: type 'string' does not support field selection"},
	{"has(self.text)", "true"},
	{"has(self.none2)", "false"},
	{"has(self.map.a)", "true"},
	{"has(self)", "compile: invalid argument to has() macro"},
	{"has(self.text, 1)", "compile: invalid argument to has() macro"},
	{"size(self.list)", "4"},
	{"self.list.size()", "4"},
	{"size(1)", "compile: found no matching overload for 'size' applied to '(int)'"},
	{"'a'.startsWith(1)", "compile: found no matching overload for 'startsWith' applied to "
			      "'string.(int)'"},
	{"self.real", "1.5"},
	{"obj.name", "'n'"},
	{"obj.x", "compile: ERROR: <input>:1:4: undefined field 'x'\n | obj.x\n | ...^"},
	{"obj.a__dash__b", "7"},
	{"obj.__if__", "true"},
	{"obj.a__dash__b == 'a'", "compile: found no matching overload for '_==_' applied to "
				  "'(int, string)'"},
	{"has(obj.name)", "true"},
	{"has(obj.other)", "false"},
	{"obj.other", "error: no such key: other"},
	/* macros */
	{"[1, 2, 3].all(x, x > 0)", "true"},
	{"[1, 2, 3].all(x, x > 1)", "false"},
	{"[].all(x, x > 1)", "true"},
	{"[1, 0].all(x, 1 / x == 5)", "false"},
	{"[1, 0].all(x, 1 / x == 1)", "error: division by zero"},
	{"[0, 1].exists(x, 1 / x == 1)", "true"},
	{"[1, 2, 3].exists(x, x == 2)", "true"},
	{"[1, 2, 3].exists_one(x, x >= 2)", "false"},
	{"[1, 2, 3].exists_one(x, x >= 3)", "true"},
	{"[1, 2, 3].map(x, x * 2)", "[2, 4, 6]"},
	{"[1, 2, 3].map(x, x > 1, x * 2)", "[4, 6]"},
	{"[1, 2, 3].filter(x, x > 1)", "[2, 3]"},
	{"{'a': 1}.map(k, k)", "['a']"},
	{"{'a': 1, 'b': 2}.all(k, k != 'c')", "true"},
	{"self.map.filter(k, self.map[k] > 1)", "['b']"},
	{"[1, 2].map(x, [3, 4].map(y, x * y))", "[[3, 4], [6, 8]]"},
	{"[1].map(x, [2].map(x, x))", "[[2]]"},
	{"[1, 2].map(1, 2)", "compile: argument must be a simple name"},
	{"[1, 2].all(x, x)", "compile: expected type 'bool' but found 'int'"},
	{"1.all(x, true)", "compile: "},
	{"(1).all(x, true)", "compile: expression of type 'int' cannot be range of a "
			     "comprehension (must be list, map, or dynamic)"},
	{"[5, 6].all(i, v, v == i + 5)", "true"},
	{"{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"},
	{"[5, 6].transformList(i, v, v + i)", "[5, 7]"},
	{"{'a': 1}.transformMap(k, v, v + 1)", "{'a': 2}"},
	{"{'a': 'b'}.transformMapEntry(k, v, {v: k})", "{'b': 'a'}"},
	{"[1, 2, 3].transformList(i, v, i > 0, v)", "[2, 3]"},
	/* conversions */
	{"int('42')", "42"},
	{"int('x')", "error: type conversion error from 'string' to 'int'"},
	{"int(4.9)", "4"},
	{"int(-4.9)", "-4"},
	{"int(1e30)", "error: integer overflow"},
	{"int(7u)", "7"},
	{"uint(-1)", "error: unsigned integer overflow"},
	{"uint(7)", "7u"},
	{"double('1.5')", "1.5"},
	{"double(2)", "2.0"},
	{"string(12)", "'12'"},
	{"string(1.5)", "'1.5'"},
	{"string(true)", "'true'"},
	{"string(b'abc')", "'abc'"},
	{"string(b'\\xff')", "error: invalid UTF-8 in bytes, cannot convert to string"},
	{"bytes('abc')", "b'abc'"},
	{"bool('true')", "true"},
	{"bool('yes')", "error: type conversion error from 'string' to 'bool'"},
	{"type(1) == int", "true"},
	{"type('a') == string", "true"},
	{"type([]) == list", "true"},
	{"type(1) == type(1.0)", "false"},
	{"bytes(dyn(1))", "error: no such overload"},
	/* strings */
	{"'hello'.contains('ell')", "true"},
	{"'hello'.startsWith('he')", "true"},
	{"'hello'.endsWith('lo')", "true"},
	{"'h\xc3\xa9llo'.size()", "5"},
	{"'h\xc3\xa9llo'.charAt(1)", "'\xc3\xa9'"},
	{"'abc'.charAt(3)", "''"},
	{"'abc'.charAt(4)", "error: index out of range: 4"},
	{"'hello'.indexOf('l')", "2"},
	{"'hello'.indexOf('l', 3)", "3"},
	{"'hello'.indexOf('x')", "-1"},
	{"'hello'.lastIndexOf('l')", "3"},
	{"'hello'.lastIndexOf('l', 2)", "2"},
	{"'hello'.lastIndexOf('')", "5"},
	{"'Hello'.lowerAscii()", "'hello'"},
	{"'Hello'.upperAscii()", "'HELLO'"},
	{"'hello hello'.replace('he', 'we')", "'wello wello'"},
	{"'hello hello'.replace('he', 'we', 1)", "'wello hello'"},
	{"'abc'.replace('', '_')", "'_a_b_c_'"},
	{"'a,b,c'.split(',')", "['a', 'b', 'c']"},
	{"'a,b,c'.split(',', 2)", "['a', 'b,c']"},
	{"'a,b,c'.split(',', 0)", "[]"},
	{"'abc'.split('')", "['a', 'b', 'c']"},
	{"''.split(',')", "['']"},
	{"'hello'.substring(1)", "'ello'"},
	{"'hello'.substring(1, 3)", "'el'"},
	{"'hello'.substring(3, 1)", "error: invalid substring range. start: 3, end: 1"},
	{"'hello'.substring(9)", "error: index out of range: 9"},
	{"'  a b\\t'.trim()", "'a b'"},
	{"['a', 'b'].join()", "'ab'"},
	{"['a', 'b'].join('-')", "'a-b'"},
	{"strings.quote('a\\n\"')", "'\"a\\\\n\\\\\"\"'"},
	{"'%s is %d'.format(['x', 3])", "compile: expected type 'string' but found 'int'"},
	{"'%s is %d'.format([dyn('x'), 3])", "'x is 3'"},
	{"'%.2f %x %X %o %b'.format([dyn(1.234), 255, 'hi', 8, 5])", "'1.23 ff 6869 10 101'"},
	{"'%s'.format([[1, 'a', {'k': true}]])", "compile: expected type"},
	{"'%s'.format([[1, 2]])", "'[1, 2]'"},
	{"'%s'.format([])", "error: index 0 out of range"},
	{"'%q'.format([1])", "error: could not parse formatting clause"},
	{"'100%%'.format([])", "'100%'"},
	/* regular expressions */
	{"'abc123'.matches('^[a-z]+[0-9]+$')", "true"},
	{"matches('abc', 'b')", "true"},
	{"'abc'.matches('^b')", "false"},
	{"'abc\\n'.matches('c$')", "false"},
	{"'a'.matches('(')", "compile: invalid matches argument"},
	{"'a'.matches(self.bad)", "error: error parsing regexp"},
	{"'a'.matches('(?=a)')", "compile: invalid matches argument"},
	{"'aa'.matches('(a)\\\\1')", "compile: invalid matches argument"},
	{"'a'.matches('(a)(?1)')", "compile: invalid matches argument"},
	{"'a'.matches('(?P<x>a)(?P=x)')", "compile: invalid matches argument"},
	{"'a'.matches('(?P<x>A)(?i:b)?')", "false"},
	{"'a'.matches('a++')", "compile: invalid matches argument"},
	{"'a+b'.matches(r'^a\\+b$')", "true"},
	{"'AB'.matches('(?i)^ab$')", "true"},
	{"'a-b'.matches('^[\\w-]+$')", "true"},
	{"'a1b22'.find('[0-9]+')", "'1'"},
	{"'ab'.find('[0-9]+')", "''"},
	{"'a1b22'.findAll('[0-9]+')", "['1', '22']"},
	{"'a1b22c3'.findAll('[0-9]+', 2)", "['1', '22']"},
	{"'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$')",
	 "error: regular expression takes too long to match"},
	/* lists and sets */
	{"[1, 2, 2].isSorted()", "true"},
	{"['b', 'a'].isSorted()", "false"},
	{"[1, 2, 3].sum()", "6"},
	{"[1.5, 2.5].sum()", "4.0"},
	{"[3, 1, 2].min()", "1"},
	{"['a', 'c', 'b'].max()", "'c'"},
	{"self.empty.min()", "error: min called on empty list"},
	{"[1, 2, 1].indexOf(1)", "0"},
	{"[1, 2, 1].lastIndexOf(1)", "2"},
	{"[1, 2, 1].indexOf(5)", "-1"},
	{"[true].sum()", "compile: found no matching overload for 'sum' applied to "
			 "'list(bool).()'"},
	{"sets.contains([1, 2, 3], [2, 3])", "true"},
	{"sets.contains([1], [2])", "false"},
	{"sets.equivalent([1, 2, 2], [2, 1])", "true"},
	{"sets.intersects([1, 2], [2, 3])", "true"},
	{"sets.intersects([1], [])", "false"},
	/* times */
	{"timestamp('2023-01-02T03:04:05Z').getFullYear()", "2023"},
	{"timestamp('2023-01-02T03:04:05Z').getMonth()", "0"},
	{"timestamp('2023-01-02T03:04:05Z').getDate()", "2"},
	{"timestamp('2023-01-02T03:04:05Z').getDayOfMonth()", "1"},
	{"timestamp('2023-01-02T03:04:05Z').getDayOfWeek()", "1"},
	{"timestamp('2023-01-02T03:04:05Z').getDayOfYear()", "1"},
	{"timestamp('2023-01-02T03:04:05Z').getHours('+02:00')", "5"},
	{"timestamp('2023-01-02T03:04:05.678Z').getMilliseconds()", "678"},
	{"timestamp('2023-01-02T03:04:05Z') + duration('1h') == "
	 "timestamp('2023-01-02T04:04:05Z')",
	 "true"},
	{"timestamp('2023-01-02T03:04:05Z') - timestamp('2023-01-02T03:04:00Z')", "duration('5s')"},
	{"string(timestamp('2023-01-02T03:04:05.5Z'))", "'2023-01-02T03:04:05.5Z'"},
	{"timestamp('x')", "compile: invalid timestamp argument"},
	{"timestamp(self.text)", "error: parsing time"},
	{"duration('1h30m').getMinutes()", "90"},
	{"duration('1.5s').getMilliseconds()", "1500"},
	{"string(duration('90s'))", "'90s'"},
	{"duration('-1m') < duration('0')", "true"},
	{"duration('1x')", "compile: invalid duration argument"},
	{"duration('1h') * 2", "compile: found no matching overload"},
	{"int(timestamp('1970-01-01T00:01:00Z'))", "60"},
	{"timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"},
	/* optionals */
	{"self.?text.orValue('x')", "'Hello'"},
	{"self.?none2.orValue('x')", "'x'"},
	{"self.?none2.deep.hasValue()", "false"},
	{"self.?map.a.value()", "1"},
	{"self[?'text'].value()", "'Hello'"},
	{"[1][?5].hasValue()", "false"},
	{"optional.of(1).value()", "1"},
	{"optional.none().hasValue()", "false"},
	{"optional.none().value()", "error: optional.none() dereference"},
	{"optional.of(1).or(optional.of(2)).value()", "1"},
	{"optional.ofNonZeroValue('').hasValue()", "false"},
	{"optional.of(2).optMap(x, x * 2).value()", "4"},
	{"optional.of(2).optFlatMap(x, optional.of(x)).value()", "2"},
	{"[?optional.none(), ?optional.of(2)]", "[2]"},
	{"{?'a': optional.none(), ?'b': optional.of(2)}", "{'b': 2}"},
	{"optional.of(1) == optional.of(1)", "true"},
	/* quantities */
	{"quantity('1Gi').isGreaterThan(quantity('1G'))", "true"},
	{"quantity('100m').isLessThan(quantity('1'))", "true"},
	{"quantity('1k').compareTo(quantity('1000'))", "0"},
	{"quantity('1').add(quantity('500m')) == quantity('1.5')", "true"},
	{"quantity('5').sub(2).asInteger()", "3"},
	{"quantity('1.5').isInteger()", "false"},
	{"quantity('1.5').asApproximateFloat()", "1.5"},
	{"quantity('1.5').asInteger()", "error: cannot convert value to integer"},
	{"quantity('-3').sign()", "-1"},
	{"isQuantity('1.3Gi')", "true"},
	{"isQuantity('1xi')", "false"},
	{"quantity('x')", "error: quantities must match the regular expression"},
	/* URLs */
	{"isURL('https://a.b/c')", "true"},
	{"isURL('../x')", "false"},
	{"isURL('/path')", "true"},
	{"url('https://user@example.com:80/a%20b?x=1&x=2&y=a+b').getHost()", "'example.com:80'"},
	{"url('https://example.com:80/').getHostname()", "'example.com'"},
	{"url('https://[::1]:80/').getHostname()", "'::1'"},
	{"url('https://example.com:80/').getPort()", "'80'"},
	{"url('https://example.com/a%20b').getEscapedPath()", "'/a%20b'"},
	{"url('HTTPS://example.com').getScheme()", "'https'"},
	{"url('https://e.com/?x=1&x=2&y=a+b').getQuery()", "{'x': ['1', '2'], 'y': ['a b']}"},
	{"url('x y')", "error: URL parse error during conversion from string"},
	/* addresses */
	{"isIP('127.0.0.1')", "true"},
	{"isIP('::ffff:1.2.3.4')", "false"},
	{"ip('::1').family()", "6"},
	{"ip('127.0.0.1').isLoopback()", "true"},
	{"ip('10.0.0.1').isGlobalUnicast()", "true"},
	{"ip('ff02::1').isLinkLocalMulticast()", "true"},
	{"ip('fe80::1').isLinkLocalUnicast()", "true"},
	{"ip('0.0.0.0').isUnspecified()", "true"},
	{"ip.isCanonical('::0001')", "false"},
	{"ip.isCanonical('::1')", "true"},
	{"string(ip('2001:DB8::1'))", "'2001:db8::1'"},
	{"ip('1.2.3')", "error: IP Address \"1.2.3\" parse error during conversion from string"},
	{"isCIDR('10.0.0.0/8')", "true"},
	{"isCIDR('10.0.0.0/33')", "false"},
	{"cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true"},
	{"cidr('10.0.0.0/8').containsIP(ip('11.1.2.3'))", "false"},
	{"cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"},
	{"cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')", "false"},
	{"string(cidr('10.1.2.3/8').masked())", "'10.0.0.0/8'"},
	{"cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", "true"},
	{"cidr('10.1.2.3/8').prefixLength()", "8"},
	/* versions */
	{"isSemver('1.2.3')", "true"},
	{"isSemver('1.2')", "false"},
	{"isSemver('v1.2', true)", "true"},
	{"semver('1.2.3').major()", "1"},
	{"semver('1.2.3-alpha').isLessThan(semver('1.2.3'))", "true"},
	{"semver('1.10.0').compareTo(semver('1.9.0'))", "1"},
	{"semver('1.2.3-rc.2').compareTo(semver('1.2.3-rc.10'))", "-1"},
	{"semver('01.2.3')", "error: invalid semantic version"},
	/* formats */
	{"format.named('nonsense').hasValue()", "false"},
	{"format.dns1123Label().validate('a-b').hasValue()", "false"},
	{"format.dns1123Label().validate('A').hasValue()", "true"},
	{"format.named('uuid').value().validate('x').hasValue()", "true"},
};

static const struct cel_type *obj_member(const struct cel_type *t, const char *name)
{
	(void)t;
	if (streq(name, "a-b"))
		return cel_type_of(CEL_INT);
	if (streq(name, "if"))
		return cel_type_of(CEL_BOOL);
	return streq(name, "name") || streq(name, "other") ? cel_type_of(CEL_STRING) : NULL;
}

static const struct cel_type obj_type = {
	.kind = CEL_OBJECT, .escaped = true, .name = "Obj", .member = obj_member};
static const struct cel_variable vars[] = {{"self", NULL}, {"obj", &obj_type}};

static struct cel_program *compile(const char *text, char **error)
{
	struct cel_variable v[] = {{"self", cel_type_of(CEL_DYN)}, vars[1]};
	struct cel_env env = {v, 2};

	return cel_compile(&env, text, error);
}

static struct cel_value evaluate(struct cel_run *run, const struct cel_program *p, uint64_t limit)
{
	static json_t *self, *obj;
	struct cel_value v[2];

	if (!self) {
		self = json_pack("{s:s, s:n, s:[i,i,i,i], s:{s:i, s:i}, s:s, s:[], s:f}", "text",
				 "Hello", "none", "list", 3, 1, 4, 1, "map", "a", 1, "b", 2, "bad",
				 "(", "empty", "real", 1.5);
		obj = json_pack("{s:s, s:i, s:b}", "name", "n", "a-b", 7, "if", 1);
	}
	v[0] = cel_from_json(run, self, NULL);
	v[1] = cel_from_json(run, obj, &obj_type);
	return cel_eval(run, p, v, limit, NULL);
}

static bool check_error(const struct row *row, const char *got, const char *want)
{
	bool good = strstr(got, want) != NULL;

	if (!good)
		print_error("%s\n  gives: %s\n  wanted: %s\n", row->expression, got, want);
	return good;
}

static bool check_row(const struct row *row)
{
	auto_free char *error = NULL, *text = NULL;
	auto_clean(cel_program) struct cel_program *p = NULL;
	auto_clean(cel_run) struct cel_run *run = cel_run_new(schema_cel_host());
	bool runs = !str_starts(row->want, "compile: ");
	struct cel_value v;

	text = runs && !str_starts(row->want, "error: ")
		       ? xasprintf("dyn(%s) == dyn(%s)", row->expression, row->want)
		       : xstrdup(row->expression);
	p = compile(text, &error);
	if (!runs || !p)
		return check_error(row, p ? "no error" : error,
				   runs ? row->want : row->want + strlen("compile: "));
	v = evaluate(run, p, CEL_CALL_LIMIT);
	if (str_starts(row->want, "error: "))
		return check_error(row, v.kind == CEL_ERROR ? cel_text(run, v) : "no error",
				   row->want + strlen("error: "));
	return cel_is_true(v) ||
	       check_error(row, v.kind == CEL_ERROR ? cel_text(run, v) : "another value",
			   row->want);
}

static void test_table(void **state)
{
	size_t bad = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		bad += !check_row(&rows[i]);
	assert_int_equal(bad, 0);
}

/* Hostile expressions end soon, whatever they do. */
static void test_limits(void **state)
{
	static const char *const hostile[] = {
		"[1,2,3,4,5,6,7,8].all(a, [1,2,3,4,5,6,7,8].all(b, [1,2,3,4,5,6,7,8].all(c, "
		"[1,2,3,4,5,6,7,8].all(d, [1,2,3,4,5,6,7,8].all(e, [1,2,3,4,5,6,7,8].all(f, "
		"[1,2,3,4,5,6,7,8].all(g, a+b+c+d+e+f+g > 0)))))))",
		"'aaaaaaaaaaaaaaaa'.replace('','bbbbbbbbbbbbbbbb').replace('','cccccccccccccccc')."
		"replace('','dddddddddddddddd').replace('','eeeeeeeeeeeeeeee').replace('','fffff')."
		"replace('', 'gggggggggggggg') == ''",
		"[1,2,3,4,5,6,7,8].map(a, [1,2,3,4,5,6,7,8].map(b, [1,2,3,4,5,6,7,8].map(c, "
		"[1,2,3,4,5,6,7,8].map(d, [1,2,3,4,5,6,7,8].map(e, [1,2,3,4,5,6,7,8].map(f, "
		"[a,b,c,d,e,f])))))).size() > 0",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		auto_free char *error = NULL;
		auto_clean(cel_program) struct cel_program *p = compile(hostile[i], &error);
		auto_clean(cel_run) struct cel_run *run = cel_run_new(NULL);
		struct cel_value v;

		assert_non_null(p);
		v = evaluate(run, p, CEL_CALL_LIMIT);
		assert_int_equal(v.kind, CEL_ERROR);
		assert_string_equal(cel_text(run, v), CEL_OVER_LIMIT);
	}
}

static void repeat(struct strbuf *b, const char *s, size_t n)
{
	while (n--)
		strbuf_adds(b, s);
}

/* Nesting and length are refused before anything recurses on them. */
static void test_depth(void **state)
{
	static const struct {
		const char *open, *middle, *close;
	} shapes[] = {{"(", "1", ")"},	   {"[", "1", "]"},	     {"-", "1", ""},
		      {"!", "true", ""},   {"1+", "1", ""},	     {"", "self", ".a"},
		      {"", "self", "[0]"}, {"true?1:", "1", ""},     {"{1:", "1", "}"},
		      {"size(", "1", ")"}, {"self.map(x,", "1", ")"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		auto_strbuf b = {0};
		auto_free char *error = NULL;
		struct cel_program *p;

		repeat(&b, shapes[i].open, 5000);
		strbuf_adds(&b, shapes[i].middle);
		repeat(&b, shapes[i].close, 5000);
		p = compile(b.s, &error);
		/* minus and not are counted, not nested */
		if (!p)
			assert_true(error && *error);
		cel_program_free(p);
	}
	auto_strbuf long_text = {0};
	auto_free char *error = NULL;

	repeat(&long_text, "true&&", 30000);
	strbuf_adds(&long_text, "true");
	assert_null(compile(long_text.s, &error));
	assert_non_null(strstr(error, "expression code point size exceeds limit"));
}

static void test_types(void **state)
{
	auto_free char *error = NULL, *text = NULL;
	auto_clean(cel_program) struct cel_program *p =
		compile("self.list.map(x, {'a': optional.of(1)})", &error);

	(void)state;
	assert_non_null(p);
	text = cel_type_text(cel_program_type(p));
	assert_string_equal(text, "list(map(string, optional_type(int)))");
	assert_true(cel_program_uses(p, 0));
	assert_false(cel_program_uses(p, 1));
	assert_true(cel_program_bytes(p) < 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
