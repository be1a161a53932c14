// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import VMM

/// `--fd`: the name and the number of a descriptor, such as `kvm=3`.
struct DescriptorArgument: Equatable {
  let name: String
  let number: Int32

  /// Creates the value from the argument.
  init(_ argument: String) throws {
    let pair = argument.split(separator: "=", omittingEmptySubsequences: false)
    guard pair.count == 2, pair[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let number = Int32(pair[1])
    else { throw ValidationError("'\(argument)' is not a name and a number; give one such as kvm=3") }
    name = String(pair[0])
    self.number = number
  }
}

extension HostFiles {
  /// Takes the descriptors of the variables (sd_listen_fds(3)) and of `--fd`.
  ///
  /// - Throws: `CommandFailure` with status 2 and the name of the descriptor.
  static func passed(_ arguments: [DescriptorArgument]) throws -> HostFiles {
    try usage {
      let listening: [(name: String, number: Int32)]
      do throws(ListenVariables.Invalid) { listening = try ListenVariables.take() } catch {
        throw DescriptorProblem.variable(error.variable, cause: error.cause)
      }
      return try HostFiles(listening + arguments.map { ($0.name, $0.number) })
    }
  }

  /// Checks that a VM needs exactly the descriptors that were passed.
  ///
  /// - Throws: `CommandFailure` with status 2 and the name of the descriptor.
  func require(for configuration: Configuration) throws {
    try Self.usage { try check(configuration) }
  }

  private static func usage<Value>(_ body: () throws -> Value) throws -> Value {
    do { return try body() } catch let problem as DescriptorProblem {
      throw CommandFailure(problem.message, status: 2)
    }
  }
}
