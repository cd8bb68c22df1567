//! The words and phrases that tell a class, and how much each weighs.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Class::{self, Code, Quick, Reasoning, Vision};

/// One word or phrase; words are lower-case and separated by one space.
#[derive(Debug)]
pub(super) struct Cue {
    /// The phrase with a space before it, as it stands in a text of normalised words.
    pub(super) phrase: String,
    pub(super) class: Class,
    pub(super) weight: f32,
}

/// The cues by their last word, each with a number of its own.
pub(super) static CUES: LazyLock<HashMap<&'static str, Vec<(usize, Cue)>>> = LazyLock::new(|| {
    let mut cues: HashMap<&'static str, Vec<(usize, Cue)>> = HashMap::new();
    let phrases = TABLE.iter().flat_map(|(class, weight, list)| list.split(',').map(move |phrase| (*class, *weight, phrase.trim())));
    for (number, (class, weight, phrase)) in phrases.enumerate() {
        let last = phrase.rsplit(' ').next().unwrap_or(phrase);
        cues.entry(last).or_default().push((number, Cue { phrase: format!(" {phrase}"), class, weight }));
    }
    cues
});

#[rustfmt::skip]
const TABLE: &[(Class, f32, &str)] = &[
    (Code, 2.2, "python, javascript, typescript, java, c++, c#, kotlin, golang, php, perl, haskell, sql, sqlite, mysql, postgres, \
        postgresql, html, css, bash, numpy, pandas, django, flask, fastapi, react, angular, vue, nodejs, dockerfile, docker, \
        kubernetes, regex, regexp, refactor, stacktrace, traceback, unit test, unit tests, source code, code snippet, shell script, \
        shell command, pull request, write a function, a function that, a function to, jquery, dataframe, matplotlib, tensorflow, \
        pytorch, powershell, laravel, terraform, yaml, makefile, cmake, webpack, git, github, npm, pip, dart, flutter, swiftui, \
        spring boot, verilog, vba, scala, hello world, api endpoint, rest api, graphql, grpc, segfault, mutex, leetcode, codebase, \
        expected output of, regular expression, command line, coroutine, sourcecode, programmcode, django app, webserver, crontab, reactjs, opencv, cobol, fortran, jar files, csv files"),
    (Code, 1.3, "code, rust, ruby, swift, script, compile, compiler, compiles, algorithm, programming, debug, debugging, bug, bugs, \
        function, functions, implement, endpoint, endpoints, boolean, integer array, nullable, async, await, json, xml, api, apis, \
        database, query, queries, linux, unix, ssh, http, https, url, frontend, backend, unittest, pytest, subclass, constructor, \
        data structure, linked list, binary search, recursion, recursive, iterator, struct, enum, syntax, runtime, singleton, \
        design pattern, directory, directories, folder, file, files, for loop, while loop, stack overflow, cli, ubuntu, nginx, redis, kafka, repo, repository, commit, branch, \
        merge conflict, thread safe, deadlock, race condition, memory leak, parser, schema, migration, funktion, skript, función, \
        fonction, código, programa, fehlermeldung, requête, datenbank, base de datos, programmiere, programm, elixir, lua, matlab, \
        r script, rust function, rust program, rust code, function which, function that, excel formula, css class, web app, web page, webpage, website using, tcp, udp, oop, object oriented"),
    (Code, 0.7, "program, method, methods, class, array, arrays, string, strings, variable, variables, parameter, parameters, \
        argument, loop, integer, integers, tuple, lists, dictionary, hash, sort, sorts, parse, parses, input, output, returns, return, server, \
        client, library, package, module, framework, command, terminal, exception, error, errors, \
        test, tests, type, types, object, objects, instance, button, button click, click, import, install, build, \
        deploy, token, cache, log, logs, app, error handling, optimize, snippet"),

    (Reasoning, 2.5, "prove, proof, derive, step by step, think step by step, theorem, lemma, integral, eigenvalue, eigenvalues, \
        probability, derivative, polynomial, premises, premise, tradeoff, tradeoffs, trade off, trade offs, how many, \
        determine whether, does it follow, follow logically, true or false, deduce, contradiction, hypothenuse, equation, equations, \
        find the value, what is the value, math problem, word problem, math word problem, logic puzzle, riddle, \
        root cause, schritt für schritt, beweise, wie viele, wieviel, wie viel, cuántos, cuántas, cuánto, cuánta, combien, \
        pas à pas, paso a paso, demuestra, démontre, сколько, ngapi, kiasi gani, reasoning, return to the starting point, \
        how would a typical person answer, is plausible, derivation, derivations, démontrer, tells the truth, lies"),
    (Reasoning, 1.3, "compute, calculate, solve, evaluate, average, percent, percentage, ratio, twice, half, thirds, remainder, \
        divisible, triangle, rectangle, circle, radius, diameter, perimeter, angle, degrees, sum, product, integer, integers, \
        positive, polygon, vertices, real numbers, least, total, how much, how long, how far, how old, how fast, interest, per hour, \
        per day, per week, per month, per year, mph, km, cost, costs, earns, times as many, as many, more than, fewer, altogether, \
        remaining, converge, converges, continuous, infinite, matrix, vector, graph, logically, implies, therefore, infer, valid, \
        invalid, uncertain, which option is correct, compare, contrast, analyze, analyse, strategy, hypothesis, consistency, \
        latency, assumptions, justify, evaluate the, weigh, vergleiche, begründe, compara, compare les, razona, calcula, calcule, \
        berechne, implications, feasibility, constraints, bayesian, statistically"),
    (Reasoning, 0.5, "why, if, then, suppose, assume, given, each, every, exactly, all, some, options, option, statement, conclusion, \
        argument, design, architecture, choose between, pros and cons, advantages and disadvantages, warum, pourquoi, por qué, \
        left, now, find, let, time, number, numbers, equal, bought, sold, gave, spent, money, price, minutes, hours, days, miles, \
        feet, inches, meters, pounds, dollars, cents, apples, marbles, cards, older, younger, years old, sequence, order"),

    (Quick, 1.5, "hello, hi, hey, thanks, thank you, good morning, good evening, hallo, danke, hola, gracias, bonjour, merci, \
        translate, summarise, summarize, summary, rewrite, rephrase, paraphrase, proofread, define, definition, synonym, synonyms, \
        übersetze, traduce, traduis, traduire, zusammenfassen, fasse, resume, résume, spell, capital of, grammar, sentiment, \
        headline, tagline, slogan, poem, haiku, story, joke, song, lyrics, recipe, recipes, act as, roleplay, imagine you, \
        imagine you are, imagine you re, take the role, pretend, write a letter, email, essay, blog post, weather, recommend, \
        recommendations, restaurant, suggest, brainstorm, bullet points, changelog, one sentence, in one sentence, tell me, \
        advice, tips, ideas, passage, title, paragraph, tweet, greeting, gedicht, poema, poème, history of, movie, movies, music"),
    (Quick, 0.7, "what are, what is, who is, who was, when did, where is, can you, could you, please, explain, describe, list, name, \
        write, sentence, sentences, word, words, article, text, question, answer, classify, categorize, convert, help, feel, think, \
        favorite, best, good, people, life, love, friend, food, health, culture, world, history, author, book, books, character, \
        language, english, french, german, spanish, chinese, was ist, wer ist, qué es, qui est, country, city, create a, come up \
        with, generate, role, team, customer, product, business, company, dialogue, conversation, topic, key, reason"),

    (Vision, 4.5, "this image, the following image, following image, in the image, in this image, in the picture, in the photo, attached image, this picture, this photo, \
        this screenshot, the screenshot, attached photo, image 1, infographic, the photos, these photos, \
        this painting, bounding box, ocr, in the background, shown here, pictured, this drawing, this diagram, attached diagram, \
        attached picture, attached chart, this chart, this scan, scanned, handwriting, dieses bild, diesem bild, auf dem bild, \
        esta imagen, la imagen, esta foto, cette image, l image, cette photo, this meme, this x ray, this whiteboard, this receipt, two images, two photos, two screenshots, \
        la foto, questa foto, captura de pantalla, capture d écran, картинке, картинка, изображении, на фото, in the figure, \
        attached map, attached invoice, attached file, on my screen, the pic, this pic"),
    (Vision, 2.2, "image, photo, photos, screenshot, screenshots, painting, poster, attached, bild, foto, imagen"),
    (Vision, 1.0, "the image, images, picture, the photo, the picture, photograph, pictures, visible, depicted, wearing, caption"),
];

/// Scripts without spaces between words have no boundaries to respect, so these are looked for as they are.
#[rustfmt::skip]
pub(super) const UNSPACED: &[(Class, f32, &str)] = &[
    (Code, 2.2, "代码"),
    (Code, 2.2, "函数"),
    (Code, 1.5, "编程"),
    (Code, 1.5, "脚本"),
    (Code, 1.5, "数据库"),
    (Code, 1.3, "程序"),
    (Code, 1.3, "算法"),
    (Code, 1.5, "查询"),
    (Code, 1.0, "数组"),
    (Code, 1.5, "コード"),
    (Code, 1.5, "関数"),
    (Reasoning, 2.5, "多少"),
    (Reasoning, 2.5, "证明"),
    (Reasoning, 2.5, "推理"),
    (Reasoning, 2.0, "计算"),
    (Reasoning, 2.5, "权衡"),
    (Reasoning, 2.0, "概率"),
    (Reasoning, 2.0, "方程"),
    (Reasoning, 2.0, "推导"),
    (Reasoning, 1.5, "几个"),
    (Reasoning, 1.0, "比较"),
    (Reasoning, 1.5, "数学"),
    (Reasoning, 1.5, "逐步"),
    (Reasoning, 2.0, "いくつ"),
    (Reasoning, 2.0, "いくら"),
    (Reasoning, 2.0, "何個"),
    (Reasoning, 2.0, "何人"),
    (Reasoning, 2.0, "何時間"),
    (Reasoning, 2.0, "何ドル"),
    (Reasoning, 2.5, "กี่"),
    (Reasoning, 2.5, "เท่าไ"),
    (Reasoning, 2.5, "কত"),
    (Reasoning, 2.5, "ఎంత"),
    (Reasoning, 2.5, "ఎన్ని"),
    (Quick, 1.5, "翻译"),
    (Quick, 1.0, "总结"),
    (Quick, 1.0, "我想让你充当"),
    (Quick, 1.0, "故事"),
    (Quick, 0.7, "句子"),
    (Quick, 0.7, "什么"),
    (Quick, 0.7, "文本"),
    (Quick, 0.7, "文章"),
    (Quick, 0.7, "写一"),
    (Quick, 0.7, "关键词"),
    (Vision, 4.0, "图片"),
    (Vision, 4.0, "图像"),
    (Vision, 4.0, "照片"),
    (Vision, 4.0, "画像"),
    (Vision, 3.0, "截图"),
    (Vision, 4.0, "写真"),
];

/// Words that refer to something said before.
#[rustfmt::skip]
pub(super) const BACK: &[&str] = &[
    "it", "its", "that", "this", "these", "those", "them", "they", "now", "again", "instead", "same", "above", "also", "line", "lines",
    "step", "first", "second", "third", "last", "and", "but", "das", "es", "jetzt", "lo", "eso", "ahora", "ça", "cela", "le",
    "maintenant",
];

/// What hardly stands in prose.
#[rustfmt::skip]
pub(super) const OPERATORS: &[&str] = &[
    "=>", "!=", "==", "();", "->", "&&", "||", "</", "/>", "+=", "::", ");", "{\n", "};", "\ndef ", ">>> ", "):\n", "\"\"\"", "\nimport ",
    "#include", "#!/", "print(", "\nfor ", "<?php", "SELECT ", "\n    return", "']", "\"]", "\n$ ",
];

/// What compilers, shells and runtimes say.
#[rustfmt::skip]
pub(super) const TRACES: &[&str] = &[
    "Traceback (most recent", "error[E", "Exception in thread", "panicked at", "undefined reference", "TypeError", "SyntaxError",
    "NullPointerException", "ValueError", "ReferenceError", "ImportError", "KeyError", "AttributeError", "Segmentation fault",
    "cannot find symbol", "npm ERR", "command not found", "No such file",
];

/// What follows the point in the names of source files.
pub(super) const EXTENSIONS: &[&str] = &[
    "py", "js", "ts", "tsx", "jsx", "rs", "go", "java", "kt", "c", "h", "cpp", "hpp", "cs", "rb", "php", "sh", "sql", "html", "css",
    "json", "yaml", "yml", "toml", "xml", "csv", "txt", "md", "log", "swift", "scala", "lua", "mod", "ipynb",
];
