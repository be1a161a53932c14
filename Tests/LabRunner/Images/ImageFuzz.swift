// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage

/// Loads mutated kernels and initrds in a child process, for a number of seconds.
struct ImageFuzz {
  let seconds: Int
  let seed: Int
  /// The first iteration.
  var from: UInt64 = 0
  /// True to run only one iteration.
  var isSingle = false
  /// The iteration that ends by a trap on purpose, or nil.
  var trap: UInt64?

  static let all = [
    Case(
      "fuzz-image", "8 s of mutated kernels and initrds; `Tests/lab fuzz image` for longer", limit: 120
    ) { context in try ImageFuzz(seconds: 8, seed: 1).run(context) },
    Case("fuzz-image-long", "10 minutes of mutated kernels and initrds", limit: 900, isLong: true) {
      context in
      try ImageFuzz(seconds: 600, seed: 2).run(context)
    },
  ]

  /// Returns the paths of the files to mutate: the kernels and the small guests.
  static func files(kernels: [String], guests: URL) throws -> [String] {
    let names = try FileManager.default.contentsOfDirectory(atPath: guests.path).sorted()
    let small = names.filter { $0.hasSuffix(".elf") || $0.hasSuffix(".bin") }
    return kernels.sorted() + small.map { guests.appending(path: $0).path }
  }

  private func run(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let files = try Self.files(
      kernels: context.manifest.guestKernels.values.map(\.image),
      guests: URL(filePath: context.manifest.guests))
    // The directory has FIFOs and files with large holes. It is not among the case's files, which are copied.
    let directory = URL(filePath: "/run/lab-fuzz")
    try directory.removeIfPresent()
    try directory.makeDirectory()
    defer { try? directory.removeIfPresent() }  // only a leftover: an iteration is repeated by its number
    let result = try run(files, in: directory) { context.note($0) }
    try context.require(result.isGood, result.deaths.joined(separator: "; "))
    return result.summary
  }

  /// The result of a run.
  struct Result {
    var outcomes = ImageWorker.Outcomes()
    /// Crashes, hangs and wrong results, each with the command that repeats it.
    var deaths: [String] = []
    /// The processor time of the workers in seconds.
    var processorTime = 0.0

    var isGood: Bool { deaths.isEmpty && outcomes.iterations > 0 }

    var summary: String {
      let kinds = outcomes.kinds.sorted { $0.value > $1.value }.map { "\($0.key) \($0.value)" }
      let time = processorTime.formatted(.number.precision(.fractionLength(1)).grouping(.never))
      return "\(outcomes.iterations) images, \(deaths.count) crashes, \(time) s of processor time: "
        + kinds.joined(separator: ", ")
    }
  }

  private static let mostDeaths = 10
  /// The time limit of an iteration. An iteration takes milliseconds, and up to a second for a large file.
  private static let longestIteration = Duration.seconds(60)

  /// Runs workers one after the other until the time is over.
  func run(_ files: [String], in directory: URL, _ note: (String) -> Void) throws -> Result {
    note("to repeat: Tests/lab fuzz image --seconds \(seconds) --seed \(seed)")
    let end = ContinuousClock.now + .seconds(seconds)
    var result = Result()
    var next = from
    repeat {
      let left = isSingle ? 0 : max(1, (end - ContinuousClock.now) / .seconds(1))
      let first = next
      guard let death = try work(files, in: directory, from: first, seconds: left, &result) else { break }
      next = try iteration(directory)
      result.outcomes.iterations += next - first
      let text =
        "\(death) in iteration \(next); to repeat: Tests/lab fuzz image --seed \(seed) --iteration \(next)"
      note(text)
      result.deaths.append(text)
      next += 1
    } while !isSingle && ContinuousClock.now < end && result.deaths.count < Self.mostDeaths
    return result
  }

  /// Runs one worker. Returns nil if it completed, else the cause of its end.
  private func work(
    _ files: [String], in directory: URL, from: UInt64, seconds: Double, _ result: inout Result
  ) throws -> String? {
    let progress = directory.appending(path: "iteration")
    try Data(count: 8).write(to: progress)
    let output = directory.appending(path: "worker.json")
    var arguments = [
      "SWIFT_BACKTRACE=enable=no",
      try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
      "image-worker", "--seed", "\(seed)", "--from", "\(from)", "--seconds", "\(seconds)", "--directory",
      directory.path,
    ]
    if let trap { arguments += ["--trap", "\(trap)"] }
    let before = Self.childTime
    let program = try RunningProgram(
      ["/usr/bin/env"] + arguments + files, output: .create(output),
      errors: .create(directory.appending(path: "worker.err")))
    defer { result.processorTime += Self.childTime - before }
    var last: (number: UInt64, since: ContinuousClock.Instant) = (.max, .now)
    while program.isRunning {
      usleep(20_000)
      let now = try iteration(directory)
      if now != last.number { last = (now, .now) }
      guard ContinuousClock.now - last.since > Self.longestIteration else { continue }
      program.signal(SIGKILL)
      program.waitUntilEnd()
      return "a hang"
    }
    let status = try program.wait()
    guard status == 0 else {
      let said = try String(contentsOf: directory.appending(path: "worker.err"), encoding: .utf8)
      return "status \(status) (\(said.split(separator: "\n").last ?? "no message"))"
    }
    let outcomes = try JSONDecoder().decode(ImageWorker.Outcomes.self, from: Data(contentsOf: output))
    result.outcomes.iterations += outcomes.iterations
    for (kind, count) in outcomes.kinds { result.outcomes.kinds[kind, default: 0] += count }
    result.deaths += outcomes.faults.map { "seed \(seed), \($0)" }
    return nil
  }

  private func iteration(_ directory: URL) throws -> UInt64 {
    let bytes = try Data(contentsOf: directory.appending(path: "iteration"))
    return bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// The processor time of the children that have ended, in seconds.
  private static var childTime: Double {
    var usage = rusage()
    // SAFETY: getrusage fills in the struct.
    _ = unsafe getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}
