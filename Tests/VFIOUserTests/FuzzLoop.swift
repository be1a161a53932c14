// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Synchronization
import TestTools

/// The length of the tests with seeds. `Tests/lab fuzz vfio-user` and `Tests/lab long` set the environment for longer runs.
enum FuzzLength {
  /// The number of requests to a faulty server.
  static let requests = number("FAULTY_REQUESTS") ?? 1000
  /// The processor time in seconds of random messages to the client, and to the servers. Without it, the number of rounds
  /// is fixed.
  static let seconds = number("FUZZ_SECONDS")
  /// The number that is added to each seed.
  static let seed = UInt64(number("FUZZ_SEED") ?? 0)

  private static func number(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap(Int.init)
  }
}

/// The rounds of a test with random messages. Several threads run them if the length is a processor time, because a round
/// mostly waits for other threads.
final class FuzzLoop: Sendable {
  /// The number of threads.
  static let threads = FuzzLength.seconds == nil ? 1 : 8

  private let servers: [ServerProcess]
  private let seconds: Double?
  private let start: Double
  private let rounds = Atomic(0)
  private let isOver = Atomic(false)
  /// The errors of the threads. Never held together with another lock.
  private let errors = Mutex<[any Error]>([])

  /// - Parameters:
  ///   - parts: The number of runs of the test, among which the processor time is divided.
  ///   - servers: The processes whose processor time also counts.
  init(parts: Int, servers: [ServerProcess] = []) throws {
    self.servers = servers
    seconds = FuzzLength.seconds.map { Double($0) / Double(parts) }
    start = try Self.used(servers)
  }

  /// Runs a body on each thread until the end, and throws the first error.
  ///
  /// - Parameter body: Runs rounds as long as ``next()`` returns true. It receives the number of the thread.
  func run(_ body: @escaping @Sendable (Int) throws -> Void) throws {
    let threads = try (0..<Self.threads).map { number in
      try Linux.Thread(name: "fuzz \(number)") { [self] in
        do { try body(number) } catch { errors.withLock { $0.append(error) } }
      }
    }
    for thread in threads { thread.join() }
    if let error = errors.withLock({ $0.first }) { throw error }
  }

  /// Returns false at the end.
  func next() throws -> Bool {
    let round = rounds.add(1, ordering: .relaxed).newValue
    guard let seconds else { return round <= 60 }
    // Reading the time costs as much as a round.
    if round % 64 == 0, try Self.used(servers) - start >= seconds { isOver.store(true, ordering: .relaxed) }
    return !isOver.load(ordering: .relaxed)
  }

  /// Returns the processor time of this process and of the servers in seconds.
  private static func used(_ servers: [ServerProcess]) throws -> Double {
    try Double(clock()) / Double(CLOCKS_PER_SEC) + servers.reduce(0) { try $0 + $1.processorSeconds() }
  }
}
