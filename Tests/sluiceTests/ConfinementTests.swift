// SPDX-License-Identifier: Apache-2.0

import Foundation
import Sandbox
import Testing

@testable import sluice

/// The confinement of a VM's process, as /proc and the summary show it.
@Suite(.enabled(if: TinyVM.isPossible, "\(TinyVM.reason)"), .serialized)
struct ConfinementTests {
  private static let quiet = TinyGuest().saying("up").idling()

  @Test(
    "the summary has the state of each layer of confinement",
    arguments: ["on", "off", "no-landlock", "no-seccomp,no-landlock,no-no_new_privs,capabilities"])
  func layers(_ sandbox: String) throws {
    let vm = try TinyVM(
      TinyGuest().writing(0, to: 0xF4), ["--debug-exit", "--summary", "--sandbox", sandbox])
    #expect(vm.wait() == 1)
    let (errors, choice) = (vm.errors, try SandboxArgument(sandbox).layers)
    for layer in Layer.allCases {
      let text = choice.contains(layer) ? layer.text : "off: left out"
      #expect(errors.contains("  \(layer.rawValue): \(text)"), "\(errors)")
    }
  }

  @Test("the process of a VM has own namespaces and an empty root directory, and keeps its user")
  func namespaces() throws {
    let vm = try TinyVM(Self.quiet, ["--sandbox", "namespaces"])
    #expect(vm.hears("up"))
    let process = "/proc/\(vm.process)"
    for name in ["user", "mnt", "net", "ipc", "uts"] {
      let (own, others) = try (
        FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/\(name)"),
        FileManager.default.destinationOfSymbolicLink(atPath: "\(process)/ns/\(name)")
      )
      #expect(own != others)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: process + "/root").isEmpty)
    let mounts = try String(contentsOfFile: process + "/mountinfo", encoding: .utf8).split(separator: "\n")
    #expect(mounts.count == 1 && mounts[0].contains(" / / ro,") && mounts[0].contains(" - tmpfs none ro"))
    let map = try String(contentsOfFile: process + "/uid_map", encoding: .utf8).split(separator: " ")
    #expect(map.prefix(2).allSatisfy { $0 == "\(geteuid())" })
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
  }

  @Test("the threads of a VM have no capabilities, no new privileges and a filter", arguments: [1, 64])
  func confined(_ cpus: Int) throws {
    let vm = try TinyVM(Self.quiet, ["--cpus", "\(cpus)", "--trace", "/dev/null"])
    #expect(vm.hears("up"))
    var names: [String] = []
    for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(vm.process)/task") {
      let status = try String(contentsOfFile: "/proc/\(vm.process)/task/\(thread)/status", encoding: .utf8)
      func field(_ name: String) -> String? {
        status.split(separator: "\n").first { $0.hasPrefix(name + ":") }?.split(separator: "\t").last
          .map(String.init)
      }
      // A thread of KVM runs no code of the process.
      if field("Name")?.hasPrefix("kvm-") == true { continue }
      names.append(field("Name") ?? "")
      for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        #expect(field(set).flatMap { UInt64($0, radix: 16) } == 0, "\(set) of \(names)")
      }
      #expect(field("NoNewPrivs") == "1" && field("Seccomp") == "2", "\(names)")
    }
    #expect(names.count == cpus + 2, "threads: control, trace and vCPUs: \(names)")
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
  }
}
