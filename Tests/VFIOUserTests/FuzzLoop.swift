// SPDX-License-Identifier: Apache-2.0

import Foundation
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

/// The rounds of a test with random messages.
struct FuzzLoop {
  private let server: ServerProcess?
  private let seconds: Double?
  private let start: Double
  private(set) var rounds = 0

  /// - Parameters:
  ///   - parts: The number of runs of the test, among which the processor time is divided.
  ///   - server: The process whose processor time also counts.
  init(parts: Int, server: ServerProcess? = nil) throws {
    self.server = server
    seconds = FuzzLength.seconds.map { Double($0) / Double(parts) }
    start = try Self.used(server)
  }

  /// Returns false at the end.
  mutating func next() throws -> Bool {
    rounds += 1
    guard let seconds else { return rounds <= 60 }
    return try Self.used(server) - start < seconds
  }

  /// Returns the processor time of this process and of the server in seconds.
  private static func used(_ server: ServerProcess?) throws -> Double {
    Double(clock()) / Double(CLOCKS_PER_SEC) + (try server?.processorSeconds() ?? 0)
  }
}
