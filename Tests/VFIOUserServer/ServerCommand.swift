// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
import Linux

/// The command line of a server. The exit status is 2 for wrong usage and 1 for a failure.
package protocol ServerCommand: ParsableCommand {}

extension ServerCommand {
  /// Runs the command with the arguments of the process.
  package static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as KernelError {
      writeStandardError("\(error)\n")
      endProcess(error.errno == KernelError.addressInUse ? 2 : 1)
    } catch let error where exitCode(for: error) == .validationFailure {
      writeStandardError(fullMessage(for: error) + "\n")
      endProcess(2)
    } catch { exit(withError: error) }
  }
}
